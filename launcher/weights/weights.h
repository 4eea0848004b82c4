// Weights: tensors by name that own their values, in the canonical layout. What is exported,
// imported, compared and averaged. Names are those of the model: "conv1/weight".
#pragma once

#include <map>
#include <string>
#include <vector>

#include "core/base/dtype.h"
#include "core/base/shape.h"

namespace lockstep {

struct Weight {
  Shape shape;
  std::vector<float> values;  // shape.elements(), row-major

  bool operator==(const Weight&) const = default;
};

using Weights = std::map<std::string, Weight>;

// Whether files of weights may hold numbers of this type: f32, f16, bf16 and f64 are read as f32.
bool is_weight_dtype(DType dtype);
// `elements` numbers of that type, little-endian as in memory, as f32.
// REQUIRES: is_weight_dtype(dtype)
std::vector<float> weights_from(DType dtype, const std::byte* bytes, std::size_t elements);

}  // namespace lockstep
