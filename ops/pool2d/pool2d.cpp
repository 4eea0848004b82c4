#include "ops/pool2d/pool2d.h"

#include "core/base/error.h"

namespace lockstep {
namespace {

constexpr std::int64_t kMostWindowElements = 256;  // positions are u8

void check_images(const char* what, const TensorType& type) {
  check_input((type.dtype == DType::kF32 || type.dtype == DType::kBF16) && type.shape.rank() == 4,
              what, " is ", type.to_string(),
              ", expected f32 or bf16 (batch, height, width, channels)");
}

TensorType pooled(const Window2d& window, std::span<const TensorType> inputs) {
  check_input(inputs.size() == 1, "takes 1 input, got ", inputs.size());
  check_images("input", inputs[0]);
  window.check();
  const Shape& x = inputs[0].shape;
  return {inputs[0].dtype, {x[0], window.output(0, x[1]), window.output(1, x[2]), x[3]}, nullptr};
}

TensorType unpooled(const Window2d& window, const TensorType& dy, std::int64_t height,
                    std::int64_t width) {
  check_images("gradient", dy);
  const TensorType dx{dy.dtype, {dy.shape[0], height, width, dy.shape[3]}, nullptr};
  const Shape expected = pooled(window, {{dx}}).shape;
  check_input(dy.shape == expected, "gradient is ", dy.to_string(), ", expected ", expected);
  return dx;
}

std::string backward_attributes(const Window2d& window, std::int64_t height, std::int64_t width) {
  return text(window.to_string(true), " input=(", height, ", ", width, ")");
}

}  // namespace

std::vector<TensorType> MaxPool2dOp::infer(std::span<const TensorType> inputs) const {
  const TensorType y = pooled(window_, inputs);
  const std::int64_t elements = window_.size[0] * window_.size[1];
  check_input(elements <= kMostWindowElements, "a window of ", elements, " elements, at most ",
              kMostWindowElements, " are supported; use global_max_pooling2d for whole images");
  return {y, {DType::kU8, y.shape, nullptr}};
}

void MaxPool2dOp::gradient(Backward& backward) const {
  if (backward.cotangent(0) == kNoValue || !backward.wants(0)) return;
  const Shape x = backward.graph().type(backward.input(0)).shape;
  backward.accumulate(
      0, backward.graph().add(std::make_shared<MaxPool2dBackwardOp>(window_, x[1], x[2]),
                              {backward.cotangent(0), backward.output(1)}, backward.name()));
}

std::string MaxPool2dBackwardOp::attributes() const {
  const std::string base = backward_attributes(window_, height_, width_);
  if (!activation_) return base;
  const std::string detail = activation_->attributes();
  return text(base, " activation=", activation_->name(), detail.empty() ? "" : " ", detail);
}

std::vector<TensorType> MaxPool2dBackwardOp::infer(std::span<const TensorType> inputs) const {
  const std::size_t expected = activation_ ? 3 : 2;
  check_input(inputs.size() == expected, "takes ", expected, " inputs, got ", inputs.size());
  const TensorType dx = unpooled(window_, inputs[0], height_, width_);
  check_input(inputs[1].dtype == DType::kU8 && inputs[1].shape == inputs[0].shape, "positions are ",
              inputs[1].to_string(), ", expected u8", inputs[0].shape);
  if (activation_) {
    require(activation_->gradient_from_output(), "the gradient of ", activation_->name(),
            " is no function of the maximum");
    check_input(inputs[2].dtype == inputs[0].dtype && inputs[2].shape == inputs[0].shape,
                "maxima are ", inputs[2].to_string(), ", gradient is ", inputs[0].to_string(),
                ", expected equal types");
  }
  return {dx};
}

std::shared_ptr<const Op> MaxPool2dBackwardOp::with_activation(const Activation& activation) const {
  return std::make_shared<MaxPool2dBackwardOp>(window_, height_, width_, activation);
}

std::vector<TensorType> AveragePool2dOp::infer(std::span<const TensorType> inputs) const {
  return {pooled(window_, inputs)};
}

void AveragePool2dOp::gradient(Backward& backward) const {
  if (backward.cotangent(0) == kNoValue || !backward.wants(0)) return;
  const Shape x = backward.graph().type(backward.input(0)).shape;
  backward.accumulate(
      0, backward.graph().add(std::make_shared<AveragePool2dBackwardOp>(window_, x[1], x[2]),
                              {backward.cotangent(0)}, backward.name()));
}

std::string AveragePool2dBackwardOp::attributes() const {
  return backward_attributes(window_, height_, width_);
}

std::vector<TensorType> AveragePool2dBackwardOp::infer(std::span<const TensorType> inputs) const {
  check_input(inputs.size() == 1, "takes 1 input, got ", inputs.size());
  return {unpooled(window_, inputs[0], height_, width_)};
}

ValueId max_pool2d(Graph& graph, ValueId x, const Window2d& window, const std::string& name) {
  return graph.add_node(std::make_shared<MaxPool2dOp>(window), {x}, name)[0];
}

ValueId average_pool2d(Graph& graph, ValueId x, const Window2d& window, const std::string& name) {
  return graph.add(std::make_shared<AveragePool2dOp>(window), {x}, name);
}

// ---- Fusion ------------------------------------------------------------------------------------

namespace {

// f'(x) of the elements that the gradient reaches: they are the maxima, so f'(y) is the same.
std::optional<Fusion> fuse_activation(const FusionSite& site) {
  const Node& root = site.node();
  const auto* activation = dynamic_cast<const ActivationBackwardOp*>(root.op.get());
  if (activation == nullptr || !activation->activation().gradient_from_output()) return {};
  const Node* unpool = site.producer(root, 0);
  if (unpool == nullptr || !site.only_read_by(root.inputs[0], site.root)) return {};
  const auto* op = dynamic_cast<const MaxPool2dBackwardOp*>(unpool->op.get());
  if (op == nullptr || op->activation()) return {};
  const Node* pool = site.producer(*unpool, 1);
  if (pool == nullptr || dynamic_cast<const MaxPool2dOp*>(pool->op.get()) == nullptr ||
      pool->inputs[0] != root.inputs[1]) {
    return {};
  }
  return Fusion{op->with_activation(activation->activation()),
                {unpool->inputs[0], unpool->inputs[1], pool->outputs[0]},
                root.outputs,
                {site.graph.value(root.inputs[0]).producer}};
}

}  // namespace

std::vector<FusionPattern> pool2d_fusions() {
  return {{"max_pool2d_backward+activation_backward", fuse_activation}};
}

}  // namespace lockstep
