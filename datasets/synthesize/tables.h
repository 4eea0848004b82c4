// Synthetic tables: x (n, features) f32 and y.
//
//   linear     x normal; y f32 = w . x + b + noise, w and b normal
//   logistic   x normal; y i32 is 1 with probability 1 / (1 + exp(-(w . x + b))), else 0
//   xor        x uniform in [-1, 1]; y i32 is 1 where exactly one of the first two is above 0;
//   noise is
//              added to x afterwards
//   spirals    class k (sample mod K) lies on an arm: radius t, angle 2 pi (t + k / K), t uniform
//   in
//              [0, 1); noise is added to both coordinates
//
// w and b are kept with y as the attribute `coefficients`, b last.
#pragma once

#include "datasets/synthesize/kind.h"

namespace lockstep {

SyntheticKind linear_kind();
SyntheticKind logistic_kind();
SyntheticKind xor_kind();
SyntheticKind spirals_kind();

}  // namespace lockstep
