#include "ops/onnx/normalization.h"

#include <algorithm>
#include <cmath>

namespace lockstep {
namespace {

// An f32 holds every number of that type.
bool fits_f32(DType dtype) {
  return dtype != DType::kF64 && dtype != DType::kI32 && dtype != DType::kI64;
}

// In f32, x - shift has an error of up to |shift| * 2^-24: after scaling a millionth, where a shift is at
// most this many times the unit of the result.
constexpr double kMostShift = 16;

bool needs_double(DType dtype, const std::vector<double>& shift, const std::vector<double>& scale) {
  bool far = false;
  for (std::size_t i = 0; i < shift.size(); ++i) far |= std::abs(shift[i] * scale[i]) > kMostShift;
  return far || !fits_f32(dtype);
}

std::string cast(OnnxBuilder& builder, const std::string& name, const std::string& x, DType from, DType to) {
  if (from == to) return x;
  return builder.node(name, "Cast", {x}, {{"to", onnx_type(to)}});
}

template <typename Number>
std::string arithmetic(OnnxBuilder& builder, const std::string& name, std::string x, const Shape& features,
                       const std::vector<double>& shift, const std::vector<double>& scale) {
  const auto constant = [&](const char* what, const std::vector<double>& values) {
    return builder.constant(name + what, features, std::vector<Number>(values.begin(), values.end()));
  };
  const auto all = [](const std::vector<double>& values, double number) {
    return std::ranges::all_of(values, [number](double value) { return value == number; });
  };
  if (!all(shift, 0)) x = builder.node(name, "Sub", {x, constant("/shift", shift)});
  if (!all(scale, 1)) x = builder.node(name, "Mul", {x, constant("/scale", scale)});
  return x;
}

}  // namespace

std::string onnx_normalized(OnnxBuilder& builder, const std::string& name, const std::string& x, DType dtype,
                            const Shape& features, const std::vector<double>& shift,
                            const std::vector<double>& scale) {
  if (shift.empty() || !needs_double(dtype, shift, scale)) {
    return arithmetic<float>(builder, name, cast(builder, name, x, dtype, DType::kF32), features, shift, scale);
  }
  const std::string wide = cast(builder, name, x, dtype, DType::kF64);
  return cast(builder, name, arithmetic<double>(builder, name, wide, features, shift, scale), DType::kF64, DType::kF32);
}

}  // namespace lockstep
