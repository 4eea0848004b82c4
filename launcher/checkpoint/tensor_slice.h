// A part of a tensor of the training state: what one rank copies, writes and reads.
#pragma once

#include <string>
#include <vector>

#include "core/base/range.h"
#include "core/base/shape.h"

namespace lockstep {

// Elements of a tensor, row-major. Whoever makes it owns the memory.
struct TensorSlice {
  std::string name;         // with its kind: "parameters/conv1/weight"
  Shape shape;              // of the whole tensor
  Range range;              // which elements
  float* values = nullptr;  // of `range`

  bool is_whole() const { return range.begin == 0 && range.end == shape.elements(); }
  std::size_t bytes() const { return static_cast<std::size_t>(range.size()) * sizeof(float); }
};

}  // namespace lockstep
