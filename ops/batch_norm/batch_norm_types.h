// The types that the ops of batch normalisation take, and which nodes they fuse with.
#pragma once

#include "core/base/error.h"
#include "core/graph/graph.h"
#include "ops/activation/activation.h"
#include "ops/attributes.h"

namespace lockstep::batch_norm_types {

inline std::string attributes_of(double epsilon, bool relu) {
  return "epsilon=" + exact(epsilon) + (relu ? " relu=true" : "");
}

inline void check_data(const TensorType& x) {
  check_input(x.dtype == DType::kF32 || x.dtype == DType::kBF16, "input is ", x.to_string(),
              ", expected f32 or bf16");
  check_input(x.shape.rank() >= 2, "input ", x.shape, " has fewer than 2 dimensions, expected ",
              "(batch, ..., channels)");
}

inline void check_channels(const TensorType& type, const TensorType& x, const char* what) {
  const TensorType expected{DType::kF32, {x.shape[-1]}, nullptr};
  check_input(type == expected, what, " is ", type.to_string(), ", expected ", expected.to_string(),
              " for input ", x.shape);
}

inline TensorType row_major(const TensorType& x) {
  return {x.dtype, x.shape, nullptr};
}

inline double elements(const TensorType& type) {
  return static_cast<double>(type.elements());
}

inline bool is_relu(const Node& node) {
  const auto* op = dynamic_cast<const ActivationOp*>(node.op.get());
  return op != nullptr && op->activation().kind == ActivationKind::kRelu;
}
inline bool is_relu_backward(const Node& node) {
  const auto* op = dynamic_cast<const ActivationBackwardOp*>(node.op.get());
  return op != nullptr && op->activation().kind == ActivationKind::kRelu;
}

}  // namespace lockstep::batch_norm_types
