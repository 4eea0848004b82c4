"""Batch and layer normalisation by PyTorch, for tests/ops/batch_norm_test.cpp and layer_norm_test.cpp.

    python3 tests/references/normalisation.py batch > tests/ops/batch_norm_reference.h
    python3 tests/references/normalisation.py layer > tests/ops/layer_norm_reference.h

Made with PyTorch 1.13. The arrays are in the layout of Lockstep: channels last.
"""
import sys

import torch
import torch.nn.functional as F

torch.manual_seed(11)
kind = sys.argv[1]


def array(name, values):
    text = ", ".join(f"{v:.9g}" for v in values.detach().reshape(-1).tolist())
    print(f"inline constexpr double {name}[] = {{{text}}};")


print("// Made by tests/references/normalisation.py with PyTorch; do not edit.")
print("#pragma once\n")
print("namespace lockstep::reference {\n")
if kind == "batch":
    x = (2 * torch.randn(2, 3, 2, 3) + 1).requires_grad_()
    scale = torch.randn(3).requires_grad_()
    offset = torch.randn(3).requires_grad_()
    y = F.batch_norm(x.permute(0, 3, 1, 2), None, None, scale, offset, True, 0.1, 1e-3)
    y = y.permute(0, 2, 3, 1)
    prefix = "kBatch"
else:
    x = (2 * torch.randn(4, 5) + 1).requires_grad_()
    scale = torch.randn(5).requires_grad_()
    offset = torch.randn(5).requires_grad_()
    y = F.layer_norm(x, (5,), scale, offset, 1e-3)
    prefix = "kLayer"
dy = torch.randn(y.shape)
y.backward(dy)
for name, values in [("X", x), ("Scale", scale), ("Offset", offset), ("Dy", dy), ("Y", y),
                     ("Dx", x.grad), ("Dscale", scale.grad), ("Doffset", offset.grad)]:
    array(prefix + name, values)
print("\n}  // namespace lockstep::reference")
