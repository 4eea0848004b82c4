#include "ops/softmax/softmax.h"

#include "core/base/error.h"

namespace lockstep {
namespace {

void check_axis(const TensorType& type, int axis) {
  check_input(type.dtype == DType::kF32, "input is ", type.to_string(), ", expected f32");
  check_input(axis >= -type.shape.rank() && axis < type.shape.rank(), "axis ", axis,
              " is not one of the input ", type.to_string());
}

}  // namespace

std::string SoftmaxOp::attributes() const {
  return text("axis=", axis_);
}

std::vector<TensorType> SoftmaxOp::infer(std::span<const TensorType> inputs) const {
  check_input(inputs.size() == 1, "takes 1 input, got ", inputs.size());
  check_axis(inputs[0], axis_);
  return {{DType::kF32, inputs[0].shape, nullptr}};
}

void SoftmaxOp::gradient(Backward& backward) const {
  if (!backward.wants(0) || backward.cotangent(0) == kNoValue) return;
  backward.accumulate(
      0, backward.graph().add(std::make_shared<SoftmaxBackwardOp>(axis_),
                              {backward.cotangent(0), backward.output(0)}, backward.name()));
}

double SoftmaxOp::flops(std::span<const TensorType> inputs, std::span<const TensorType>) const {
  return 20.0 * static_cast<double>(inputs[0].elements());  // most of it the exponential
}

std::string SoftmaxBackwardOp::attributes() const {
  return text("axis=", axis_);
}

std::vector<TensorType> SoftmaxBackwardOp::infer(std::span<const TensorType> inputs) const {
  check_input(inputs.size() == 2, "takes 2 inputs, got ", inputs.size());
  check_axis(inputs[0], axis_);
  check_input(inputs[1].dtype == DType::kF32 && inputs[0].shape == inputs[1].shape, "gradient is ",
              inputs[0].to_string(), ", expected that of ", inputs[1].to_string());
  return {{DType::kF32, inputs[0].shape, nullptr}};
}

double SoftmaxBackwardOp::flops(std::span<const TensorType> inputs,
                                std::span<const TensorType>) const {
  return 4.0 * static_cast<double>(inputs[0].elements());
}

ValueId softmax(Graph& graph, ValueId x, int axis, const std::string& name) {
  return graph.add(std::make_shared<SoftmaxOp>(axis), {x}, name);
}

}  // namespace lockstep
