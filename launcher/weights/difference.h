// How the tensors of two sources differ.
#pragma once

#include <functional>
#include <string>

#include "launcher/weights/tensor_source.h"

namespace lockstep {

struct TensorDifference {
  enum class Kind {
    kEqual,   // the same bits
    kValues,  // of equal shape
    kShape,
    kOnlyA,
    kOnlyB,
  };
  std::string name;
  Kind kind = Kind::kEqual;
  Shape a = {}, b = {};
  double largest = 0;         // of |a - b|; NaN where one of two numbers is NaN. 0: only zeros of other sign, or NaNs of other bits
  std::int64_t elements = 0;  // that differ
};

// Calls `each` for every tensor, in order of name. Cost: holds one tensor of each source at a time.
void compare_tensors(const TensorSource& a, const TensorSource& b,
                     const std::function<void(const TensorDifference&)>& each);

// One line for people.
std::string to_string(const TensorDifference& difference);

}  // namespace lockstep
