"""Learning rates by PyTorch's schedulers, for tests/ops/schedule_test.cpp. Made with PyTorch 1.13.

    python3 tests/references/schedules.py > tests/ops/schedule_reference.h
"""
import torch
from torch.optim import lr_scheduler

print("// Made by tests/references/schedules.py with PyTorch; do not edit.")
print("#pragma once\n")
print("namespace lockstep::reference {\n")
cases = {
    "kStepLR": (lr_scheduler.StepLR, dict(step_size=3, gamma=0.5)),
    "kMultiStepLR": (lr_scheduler.MultiStepLR, dict(milestones=[2, 5], gamma=0.1)),
    "kCosine": (lr_scheduler.CosineAnnealingLR, dict(T_max=8, eta_min=0.01)),
    "kLinear": (lr_scheduler.LinearLR, dict(start_factor=1.0, end_factor=0.25, total_iters=6)),
    "kExponential": (lr_scheduler.ExponentialLR, dict(gamma=0.9)),
}
for name, (scheduler, options) in cases.items():
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.4)
    schedule = scheduler(optimizer, **options)
    rates = []
    for _ in range(9):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    text = ", ".join(f"{rate:.9g}" for rate in rates)
    print(f"inline constexpr double {name}[] = {{{text}}};")
print("\n}  // namespace lockstep::reference")
