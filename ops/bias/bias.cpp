#include "ops/bias/bias.h"

#include "core/base/error.h"

namespace lockstep {
namespace {

void check_data(const char* what, const TensorType& type) {
  check_input(type.dtype == DType::kF32 || type.dtype == DType::kBF16, what, " is ",
              type.to_string(), ", expected f32 or bf16");
  check_input(type.shape.rank() >= 1, what, " is ", type.to_string(),
              ", expected one axis at least");
}

}  // namespace

std::vector<TensorType> BiasOp::infer(std::span<const TensorType> inputs) const {
  check_input(inputs.size() == 2, "takes 2 inputs, got ", inputs.size());
  check_data("input", inputs[0]);
  const Shape expected{inputs[0].shape[-1]};
  check_input(inputs[1].dtype == DType::kF32 && inputs[1].shape == expected, "bias is ",
              inputs[1].to_string(), ", expected f32", expected, " for input ",
              inputs[0].to_string());
  return {{inputs[0].dtype, inputs[0].shape, nullptr}};
}

void BiasOp::gradient(Backward& backward) const {
  const ValueId dy = backward.cotangent(0);
  if (dy == kNoValue) return;
  if (backward.wants(0)) backward.accumulate(0, dy);
  if (backward.wants(1)) {
    backward.accumulate(1, bias_backward(backward.graph(), dy, backward.name()));
  }
}

std::vector<TensorType> BiasBackwardOp::infer(std::span<const TensorType> inputs) const {
  check_input(inputs.size() == 1, "takes 1 input, got ", inputs.size());
  check_data("gradient", inputs[0]);
  return {{DType::kF32, {inputs[0].shape[-1]}, nullptr}};
}

double BiasBackwardOp::flops(std::span<const TensorType> inputs,
                             std::span<const TensorType>) const {
  return static_cast<double>(inputs[0].elements());
}

ValueId bias(Graph& graph, ValueId x, ValueId b, const std::string& name) {
  return graph.add(std::make_shared<BiasOp>(), {x, b}, name);
}

ValueId bias_backward(Graph& graph, ValueId dy, const std::string& name) {
  return graph.add(std::make_shared<BiasBackwardOp>(), {dy}, name);
}

}  // namespace lockstep
