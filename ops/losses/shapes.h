// Shape rules that the losses share.
#pragma once

#include <span>
#include <string_view>

#include "core/base/error.h"
#include "core/graph/type.h"

namespace lockstep {

// Equal up to extents of 1 at the end: (32) and (32, 1) are.
inline bool equal_but_trailing_ones(const Shape& a, const Shape& b) {
  const Shape& shorter = a.rank() <= b.rank() ? a : b;
  const Shape& longer = a.rank() <= b.rank() ? b : a;
  for (int axis = 0; axis < longer.rank(); ++axis) {
    if (longer[axis] != (axis < shorter.rank() ? shorter[axis] : 1)) return false;
  }
  return true;
}

// Checks what is the same in all losses: prediction, target and, where there are three, weights.
inline void check_loss_inputs(std::span<const TensorType> inputs) {
  check_input(inputs.size() == 2 || inputs.size() == 3,
              "takes prediction, target and perhaps weights, got ", inputs.size(), " inputs");
  check_input(inputs[0].dtype == DType::kF32, "prediction is ", inputs[0].to_string(),
              ", expected f32");
  check_input(inputs[0].shape.rank() >= 1, "prediction is a scalar, expected (batch, ...)");
  if (inputs.size() < 3) return;
  const Shape batch{inputs[0].shape[0]};
  check_input(inputs[2].dtype == DType::kF32 && equal_but_trailing_ones(inputs[2].shape, batch),
              "weights are ", inputs[2].to_string(), ", expected one per sample, f32", batch);
}

// The same for the backward op of a loss, whose last input is the cotangent; returns the inputs
// without it.
inline std::span<const TensorType> check_loss_cotangent(std::span<const TensorType> inputs) {
  check_input(inputs.size() >= 3, "takes the inputs of the loss and its cotangent, got ",
              inputs.size(), " inputs");
  const TensorType& cotangent = inputs.back();
  check_input(cotangent.dtype == DType::kF32 && cotangent.elements() == 1, "cotangent is ",
              cotangent.to_string(), ", expected f32()");
  return inputs.first(inputs.size() - 1);
}

}  // namespace lockstep
