#include "ops/optimizers/gradient_ops.h"

#include "core/base/error.h"
#include "ops/attributes.h"

namespace lockstep {
namespace {

void check_flat(const TensorType& type, const char* what) {
  check_input(type.dtype == DType::kF32 && type.shape.rank() == 1, what, " are ", type.to_string(),
              ", expected f32(n)");
}

void check_scalar(const TensorType& type, const char* what) {
  check_input(type.dtype == DType::kF32 && type.shape.rank() == 0, what, " is ", type.to_string(), ", expected f32()");
}

}  // namespace

std::vector<TensorType> SquareSumsOp::infer(std::span<const TensorType> inputs) const {
  check_input(inputs.size() == 1, "takes the gradients, got ", inputs.size(), " inputs");
  check_flat(inputs[0], "gradients");
  check_input(!begins_.empty() && begins_.back() == inputs[0].elements(), "the blocks end at ",
              begins_.empty() ? 0 : begins_.back(), ", there are ", inputs[0].elements(), " gradients");
  return {{DType::kF32, {static_cast<std::int64_t>(begins_.size()) - 1}, nullptr}};
}

std::string SquareSumsOp::attributes() const {
  std::string out = "begins=(";
  for (const std::int64_t begin : begins_) out += text(begin, begin == begins_.back() ? ")" : " ");
  return out;
}

double SquareSumsOp::flops(std::span<const TensorType> inputs, std::span<const TensorType>) const {
  return 2 * static_cast<double>(inputs[0].elements());
}

std::string GradientScaleOp::attributes() const {
  return "clip_norm=" + exact(clip_norm_);
}

std::vector<TensorType> GradientScaleOp::infer(std::span<const TensorType> inputs) const {
  check_input(clip_norm_ >= 0, "clip_norm is ", clip_norm_, ", expected 0 (no limit) or more");
  check_input(inputs.size() == 1, "takes the sums of the blocks, got ", inputs.size(), " inputs");
  check_flat(inputs[0], "the sums of the blocks");
  return {{DType::kF32, {}, nullptr}, {DType::kF32, {}, nullptr}};
}

std::vector<TensorType> StickyGradientScaleOp::infer(std::span<const TensorType> inputs) const {
  check_input(inputs.size() == 2, "takes halted and the sums of the blocks, got ", inputs.size(), " inputs");
  check_scalar(inputs[0], "halted");
  const std::vector<TensorType> scale = scale_.infer(inputs.last(1));
  return {inputs[0], scale[0], scale[1]};
}

std::string MovingAverageOp::attributes() const {
  return "momentum=" + exact(momentum_);
}

std::vector<TensorType> MovingAverageOp::infer(std::span<const TensorType> inputs) const {
  check_input(inputs.size() == 3, "takes state, batch value and gradient scale, got ",
              inputs.size(), " inputs");
  check_input(inputs[0].dtype == DType::kF32 && inputs[1] == inputs[0], "state ",
              inputs[0].to_string(), " and batch value ", inputs[1].to_string(),
              " differ, expected equal types of f32");
  check_scalar(inputs[2], "gradient scale");
  return {inputs[0]};
}

double MovingAverageOp::flops(std::span<const TensorType> inputs,
                              std::span<const TensorType>) const {
  return 3 * static_cast<double>(inputs[0].elements());
}

ValueId square_sums(Graph& graph, ValueId gradients, std::vector<std::int64_t> begins,
                    const std::string& name) {
  return graph.add(std::make_shared<SquareSumsOp>(std::move(begins)), {gradients}, name);
}

GradientScale gradient_scale(Graph& graph, ValueId block_sums, double clip_norm,
                             const std::string& name) {
  const auto& outputs =
      graph.add_node(std::make_shared<GradientScaleOp>(clip_norm), {block_sums}, name);
  return {outputs[0], outputs[1]};
}

GradientScale sticky_gradient_scale(Graph& graph, ValueId block_sums, ValueId halted, double clip_norm,
                                    const std::string& name) {
  const auto& outputs =
      graph.add_node(std::make_shared<StickyGradientScaleOp>(clip_norm), {halted, block_sums}, name);
  return {outputs[1], outputs[2]};
}

ValueId moving_average(Graph& graph, ValueId state, ValueId batch_value, ValueId gradient_scale,
                       double momentum, const std::string& name) {
  return graph.add(std::make_shared<MovingAverageOp>(momentum),
                   {state, batch_value, gradient_scale}, name);
}

}  // namespace lockstep
