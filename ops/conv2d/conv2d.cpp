#include "ops/conv2d/conv2d.h"

#include "core/base/error.h"
#include "ops/bias/bias.h"
#include "ops/forward_fusion.h"

namespace lockstep {
namespace {

void check_count(std::span<const TensorType> inputs, std::size_t least, std::size_t most) {
  check_input(inputs.size() >= least && inputs.size() <= most, "takes ", least,
              least == most ? text("") : text(" or ", most), " inputs, got ", inputs.size());
}

void check_images(const char* what, const TensorType& type) {
  check_input(type.dtype == DType::kF32 || type.dtype == DType::kBF16, what, " is ",
              type.to_string(), ", expected f32 or bf16");
  check_input(type.shape.rank() == 4, what, " is ", type.to_string(),
              ", expected (batch, height, width, channels)");
}

void check_weight(const TensorType& weight, const TensorType& data) {
  check_input(weight.shape.rank() == 4, "weight is ", weight.to_string(),
              ", expected (height, width, channels in, channels out)");
  check_input(weight.dtype == data.dtype, "weight is ", weight.to_string(), ", the images are ",
              data.to_string(), ", expected one element type");
}

void check_groups(std::int64_t groups, std::int64_t channels, const char* what) {
  check_input(groups >= 1 && channels >= 1 && channels % groups == 0, channels, " ", what,
              " channels cannot be split into ", groups, " groups");
}

// The window with the size of the weight, checked.
Window2d window_of(const Convolution& convolution, std::int64_t height, std::int64_t width) {
  Window2d window = convolution.window;
  window.size = {height, width};
  window.check();
  return window;
}

Shape output_shape(const Window2d& window, const Shape& x, std::int64_t channels) {
  return {x[0], window.output(0, x[1]), window.output(1, x[2]), channels};
}

// Multiply-adds of the direct method, times two.
double convolution_flops(const Shape& y, double window_elements, std::int64_t channels_in_group) {
  return 2.0 * static_cast<double>(y.elements()) * window_elements *
         static_cast<double>(channels_in_group);
}

}  // namespace

std::string Convolution::to_string() const {
  return text(window.to_string(false), " groups=", groups,
              " algorithm=", winograd ? "auto" : "direct");
}

// ---- conv2d ------------------------------------------------------------------------------------

Conv2dOp::Conv2dOp(const Convolution& convolution, std::optional<Activation> activation)
    : convolution_(convolution), activation_(activation) {}

std::string Conv2dOp::attributes() const {
  if (!activation_) return convolution_.to_string();
  const std::string detail = activation_->attributes();
  return text(convolution_.to_string(), " activation=", activation_->name(),
              detail.empty() ? "" : " ", detail);
}

std::vector<TensorType> Conv2dOp::infer(std::span<const TensorType> inputs) const {
  check_count(inputs, 2, 3);
  const TensorType &x = inputs[0], &w = inputs[1];
  check_images("input", x);
  check_weight(w, x);
  check_groups(convolution_.groups, x.shape[3], "input");
  check_groups(convolution_.groups, w.shape[3], "output");
  const std::int64_t needed = w.shape[2] * convolution_.groups;
  check_input(needed == x.shape[3], "weight ", w.shape, " needs ", needed,
              " input channels, input has ", x.shape[3]);
  if (inputs.size() == 3) {
    const TensorType& b = inputs[2];
    check_input((b.dtype == DType::kF32 || b.dtype == x.dtype) && b.shape == Shape{w.shape[3]},
                "bias is ", b.to_string(), ", expected f32", Shape{w.shape[3]});
  }
  const Window2d window = window_of(convolution_, w.shape[0], w.shape[1]);
  return {{x.dtype, output_shape(window, x.shape, w.shape[3]), nullptr}};
}

void Conv2dOp::gradient(Backward& backward) const {
  ValueId dy = backward.cotangent(0);
  if (dy == kNoValue) return;
  Graph& graph = backward.graph();
  if (activation_) {
    require(activation_->gradient_from_output(), backward.node().name, ": the gradient of ",
            activation_->name(), " needs what the fusion dropped");
    dy = graph.add(std::make_shared<ActivationBackwardOp>(*activation_), {dy, backward.output(0)},
                   backward.name());
  }
  if (backward.node().inputs.size() == 3 && backward.wants(2)) {
    backward.accumulate(2, bias_backward(graph, dy, backward.name()));
  }
  const Shape x = graph.type(backward.input(0)).shape;
  const Shape w = graph.type(backward.input(1)).shape;
  if (backward.wants(1)) {
    const auto op = std::make_shared<Conv2dBackwardWeightsOp>(
        convolution_, std::array<std::int64_t, 2>{w[0], w[1]}, false);
    backward.accumulate(1, graph.add(op, {backward.input(0), dy}, backward.name()));
  }
  if (backward.wants(0)) {
    const auto op = std::make_shared<Conv2dBackwardDataOp>(convolution_, x[1], x[2]);
    backward.accumulate(0, graph.add(op, {dy, backward.input(1)}, backward.name()));
  }
}

double Conv2dOp::flops(std::span<const TensorType> inputs,
                       std::span<const TensorType> outputs) const {
  const Shape& w = inputs[1].shape;
  return convolution_flops(outputs[0].shape, static_cast<double>(w[0] * w[1]), w[2]);
}

// ---- conv2d_backward_data ----------------------------------------------------------------------

std::string Conv2dBackwardDataOp::attributes() const {
  return text(convolution_.to_string(), " input=(", height_, ", ", width_, ")");
}

std::vector<TensorType> Conv2dBackwardDataOp::infer(std::span<const TensorType> inputs) const {
  check_count(inputs, 2, 2);
  const TensorType &dy = inputs[0], &w = inputs[1];
  check_images("gradient", dy);
  check_weight(w, dy);
  const Window2d window = window_of(convolution_, w.shape[0], w.shape[1]);
  const Shape dx{dy.shape[0], height_, width_, w.shape[2] * convolution_.groups};
  const Shape expected = output_shape(window, dx, w.shape[3]);
  check_input(dy.shape == expected, "gradient is ", dy.to_string(), ", expected ", expected);
  return {{dy.dtype, dx, nullptr}};
}

double Conv2dBackwardDataOp::flops(std::span<const TensorType> inputs,
                                   std::span<const TensorType>) const {
  const Shape& w = inputs[1].shape;
  return convolution_flops(inputs[0].shape, static_cast<double>(w[0] * w[1]), w[2]);
}

// ---- conv2d_backward_weights -------------------------------------------------------------------

std::string Conv2dBackwardWeightsOp::attributes() const {
  return text(convolution_.to_string(), " kernel_size=(", kernel_size_[0], ", ", kernel_size_[1],
              ")", with_bias_ ? " bias=true" : "");
}

std::vector<TensorType> Conv2dBackwardWeightsOp::infer(std::span<const TensorType> inputs) const {
  check_count(inputs, 2, 2);
  const TensorType &x = inputs[0], &dy = inputs[1];
  check_images("input", x);
  check_images("gradient", dy);
  check_input(x.dtype == dy.dtype, "input is ", x.to_string(), ", gradient is ", dy.to_string(),
              ", expected one element type");
  check_groups(convolution_.groups, x.shape[3], "input");
  check_groups(convolution_.groups, dy.shape[3], "output");
  const Window2d window = window_of(convolution_, kernel_size_[0], kernel_size_[1]);
  const Shape expected = output_shape(window, x.shape, dy.shape[3]);
  check_input(dy.shape == expected, "gradient is ", dy.to_string(), ", expected ", expected);
  std::vector<TensorType> out = {
      {DType::kF32,
       {kernel_size_[0], kernel_size_[1], x.shape[3] / convolution_.groups, dy.shape[3]},
       nullptr}};
  if (with_bias_) out.push_back({DType::kF32, {dy.shape[3]}, nullptr});
  return out;
}

double Conv2dBackwardWeightsOp::flops(std::span<const TensorType> inputs,
                                      std::span<const TensorType> outputs) const {
  const Shape& w = outputs[0].shape;
  return convolution_flops(inputs[1].shape, static_cast<double>(w[0] * w[1]), w[2]);
}

// ---- Builder and fusion ------------------------------------------------------------------------

ValueId conv2d(Graph& graph, ValueId x, ValueId weight, const Convolution& convolution,
               const std::string& name) {
  return graph.add(std::make_shared<Conv2dOp>(convolution), {x, weight}, name);
}

namespace {

// The node that sums dy over all but the channels, among the readers of dy and before the root;
// every reader of its result comes after the root.
const Node* bias_gradient(const FusionSite& site, ValueId dy, NodeId* id) {
  for (const NodeId reader : site.readers[dy]) {
    const Node& node = site.graph.node(reader);
    if (site.taken[reader] || reader > site.root) continue;
    if (dynamic_cast<const BiasBackwardOp*>(node.op.get()) == nullptr) continue;
    bool read_early = false;
    for (const NodeId user : site.readers[node.outputs[0]]) read_early |= user < site.root;
    if (read_early) continue;
    *id = reader;
    return &node;
  }
  return nullptr;
}

std::optional<Fusion> fuse_bias_gradient(const FusionSite& site) {
  const auto* op = dynamic_cast<const Conv2dBackwardWeightsOp*>(site.node().op.get());
  if (op == nullptr || op->with_bias()) return std::nullopt;
  NodeId id = -1;
  const Node* bias = bias_gradient(site, site.node().inputs[1], &id);
  if (bias == nullptr) return std::nullopt;
  return Fusion{
      std::make_shared<Conv2dBackwardWeightsOp>(op->convolution(), op->kernel_size(), true),
      site.node().inputs,
      {site.node().outputs[0], bias->outputs[0]},
      {id}};
}

}  // namespace

std::vector<FusionPattern> conv2d_fusions() {
  std::vector<FusionPattern> patterns = forward_fusions<Conv2dOp>(
      "conv2d", [](const Conv2dOp& op, std::optional<Activation> activation) {
        return std::make_shared<Conv2dOp>(op.convolution(), activation);
      });
  patterns.push_back({"conv2d_backward_weights+bias_backward", fuse_bias_gradient});
  return patterns;
}

}  // namespace lockstep
