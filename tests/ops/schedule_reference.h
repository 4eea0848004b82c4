// Made by tests/references/schedules.py with PyTorch; do not edit.
#pragma once

namespace lockstep::reference {

inline constexpr double kStepLR[] = {0.4, 0.4, 0.4, 0.2, 0.2, 0.2, 0.1, 0.1, 0.1};
inline constexpr double kMultiStepLR[] = {0.4, 0.4, 0.04, 0.04, 0.04, 0.004, 0.004, 0.004, 0.004};
inline constexpr double kCosine[] = {0.4,         0.385156509,  0.342885822,  0.279623269, 0.205,
                                     0.130376731, 0.0671141777, 0.0248434912, 0.01};
inline constexpr double kLinear[] = {0.4, 0.35, 0.3, 0.25, 0.2, 0.15, 0.1, 0.1, 0.1};
inline constexpr double kExponential[] = {0.4,      0.36,      0.324,      0.2916,     0.26244,
                                          0.236196, 0.2125764, 0.19131876, 0.172186884};

}  // namespace lockstep::reference
