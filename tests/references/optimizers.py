"""Five updates of a few parameters by each optimizer of PyTorch, for tests/ops/optimizers_test.cpp.

    python3 tests/references/optimizers.py > tests/ops/optimizers_reference.h

Made with PyTorch 1.13. The gradients of update t are kGradients * (1 + t / 2).
"""
import torch

torch.manual_seed(3)
start = torch.randn(7)
gradients = torch.randn(7)


def array(name, values):
    text = ", ".join(f"{v:.9g}" for v in values.detach().reshape(-1).tolist())
    print(f"inline constexpr double {name}[] = {{{text}}};")


print("// Made by tests/references/optimizers.py with PyTorch; do not edit.")
print("#pragma once\n")
print("namespace lockstep::reference {\n")
array("kStart", start)
array("kGradients", gradients)
cases = {
    "kSgd": (torch.optim.SGD, dict(lr=0.1)),
    "kMomentum": (torch.optim.SGD, dict(lr=0.1, momentum=0.9, weight_decay=0.05)),
    "kNesterov": (torch.optim.SGD, dict(lr=0.1, momentum=0.9, nesterov=True)),
    "kAdam": (torch.optim.Adam, dict(lr=0.1)),
    "kAdamDecay": (torch.optim.Adam, dict(lr=0.1, betas=(0.8, 0.95), eps=1e-4, weight_decay=0.05)),
    "kAdamw": (torch.optim.AdamW, dict(lr=0.1)),
    "kRmsprop": (torch.optim.RMSprop, dict(lr=0.1)),
    "kRmspropAll": (torch.optim.RMSprop,
                    dict(lr=0.1, alpha=0.9, momentum=0.5, centered=True, weight_decay=0.05)),
}
for name, (optimizer, options) in cases.items():
    p = start.clone().requires_grad_()
    update = optimizer([p], **options)
    for t in range(5):
        p.grad = gradients * (1 + t / 2)
        update.step()
    array(name, p)
print("\n}  // namespace lockstep::reference")
