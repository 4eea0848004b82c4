// (x - shift) * scale as ONNX, as datasets/normalize.h computes it: in double, or in f32 where that
// loses no digits.
#pragma once

#include <string>
#include <vector>

#include "ops/onnx/onnx_builder.h"

namespace lockstep {

// Adds nodes under `name` that make f32 numbers of `x`, of type `dtype`; returns the result's name.
// The constants have the shape `features`, which x broadcasts with, of as many elements as there are
// shifts and scales; none of these: x itself in f32.
std::string onnx_normalized(OnnxBuilder& builder, const std::string& name, const std::string& x, DType dtype,
                            const Shape& features, const std::vector<double>& shift,
                            const std::vector<double>& scale);

}  // namespace lockstep
