"""Losses and their gradients by PyTorch, for tests/ops/losses_test.cpp.

    python3 tests/references/losses.py > tests/ops/losses_reference.h

Made with PyTorch 1.13.
"""
import torch
import torch.nn.functional as F

torch.manual_seed(7)


def array(name, values):
    flat = values.detach().reshape(-1).tolist()
    kind = "int" if values.dtype == torch.int64 else "double"
    text = ", ".join(str(v) if kind == "int" else f"{v:.9g}" for v in flat)
    print(f"inline constexpr {kind} {name}[] = {{{text}}};")


def case(name, loss, x):
    loss.backward()
    array(name + "Loss", loss)
    array(name + "Gradient", x.grad)
    print()


print("// Made by tests/references/losses.py with PyTorch; do not edit.")
print("#pragma once\n")
print("namespace lockstep::reference {\n")

logits = (3 * torch.randn(4, 5)).requires_grad_()
labels = torch.tensor([0, 4, 2, 2])
array("kLogits", logits)
array("kLabels", labels)
case("kSoftmax", F.cross_entropy(logits, labels), logits)
logits.grad = None
case("kSmoothSoftmax", F.cross_entropy(logits, labels, label_smoothing=0.1), logits)

x = (3 * torch.randn(4, 3)).requires_grad_()
t = torch.rand(4, 3)
weights = torch.tensor([0.5, 2.0, 0.0, 1.25])
array("kPrediction", x)
array("kTarget", t)
array("kWeights", weights)
for name, function in [("kSquared", F.mse_loss), ("kAbsolute", F.l1_loss),
                       ("kBinary", F.binary_cross_entropy_with_logits)]:
    x.grad = None
    case(name, function(x, t), x)
    x.grad = None
    case("kWeighted" + name[1:], (function(x, t, reduction="none").mean(1) * weights).sum() / 4, x)

print("}  // namespace lockstep::reference")
