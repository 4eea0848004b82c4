#include "ops/layer_norm/layer_norm.h"

#include "core/base/error.h"
#include "ops/attributes.h"

namespace lockstep {
namespace {

TensorType row_major(const TensorType& type) {
  return {type.dtype, type.shape, nullptr};
}

// x and scale fit together: scale has the last axes of x.
void check_data(const TensorType& x, const TensorType& scale) {
  check_input(x.dtype == DType::kF32 || x.dtype == DType::kBF16, "input is ", x.to_string(),
              ", expected f32 or bf16");
  const int axes = scale.shape.rank(), rank = x.shape.rank();
  check_input(axes >= 1 && axes < rank, "scale ", scale.shape, " for input ", x.shape,
              ", expected the extents of its last axes, but not of all");
  const TensorType expected{DType::kF32, x.shape.slice(rank - axes, rank), nullptr};
  check_input(scale == expected, "scale is ", scale.to_string(), ", expected ",
              expected.to_string(), " for input ", x.shape);
  check_input(scale.elements() > 0, "input ", x.shape, " has no elements to take the mean of");
}

}  // namespace

std::string LayerNormOp::attributes() const {
  return "epsilon=" + exact(epsilon_);
}

std::vector<TensorType> LayerNormOp::infer(std::span<const TensorType> inputs) const {
  check_input(inputs.size() == 3, "takes input, scale and offset, got ", inputs.size(), " inputs");
  check_data(inputs[0], inputs[1]);
  check_input(inputs[2] == inputs[1], "offset is ", inputs[2].to_string(), ", the scale ",
              inputs[1].to_string(), ", expected equal types");
  return {row_major(inputs[0])};
}

void LayerNormOp::gradient(Backward& backward) const {
  if (backward.cotangent(0) == kNoValue) return;
  const std::vector<ValueId> gradients = backward.graph().add_node(
      std::make_shared<LayerNormBackwardOp>(epsilon_),
      {backward.cotangent(0), backward.input(0), backward.input(1)}, backward.name());
  for (int i = 0; i < 3; ++i) {
    if (backward.wants(i)) backward.accumulate(i, gradients[i]);
  }
}

double LayerNormOp::flops(std::span<const TensorType> inputs, std::span<const TensorType>) const {
  return 8 * static_cast<double>(inputs[0].elements());
}

std::string LayerNormBackwardOp::attributes() const {
  return "epsilon=" + exact(epsilon_);
}

std::vector<TensorType> LayerNormBackwardOp::infer(std::span<const TensorType> inputs) const {
  check_input(inputs.size() == 3, "takes dy, input and scale, got ", inputs.size(), " inputs");
  check_data(inputs[1], inputs[2]);
  check_input(inputs[0].dtype == inputs[1].dtype && inputs[0].shape == inputs[1].shape, "dy is ",
              inputs[0].to_string(), ", the input ", inputs[1].to_string(),
              ", expected equal types");
  return {row_major(inputs[1]), inputs[2], inputs[2]};
}

double LayerNormBackwardOp::flops(std::span<const TensorType> inputs,
                                  std::span<const TensorType>) const {
  return 18 * static_cast<double>(inputs[0].elements());
}

ValueId layer_norm(Graph& graph, ValueId x, ValueId scale, ValueId offset, double epsilon,
                   const std::string& name) {
  return graph.add(std::make_shared<LayerNormOp>(epsilon), {x, scale, offset}, name);
}

}  // namespace lockstep
