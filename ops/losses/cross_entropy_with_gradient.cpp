#include "ops/losses/cross_entropy_with_gradient.h"

#include <algorithm>

#include "core/base/error.h"
#include "core/builtin/builtin.h"

namespace lockstep {

std::vector<TensorType> CrossEntropyWithGradientOp::infer(std::span<const TensorType> inputs) const {
  check_input(!inputs.empty() && (inputs[0].dtype == DType::kF32 || inputs[0].dtype == DType::kBF16),
              "prediction is ", inputs.empty() ? std::string("missing") : inputs[0].to_string(), ", expected f32 or bf16");
  std::vector<TensorType> exact(inputs.begin(), inputs.end());
  exact[0].dtype = DType::kF32;
  return {loss_.infer(exact)[0], {inputs[0].dtype, inputs[0].shape, nullptr}};
}

double CrossEntropyWithGradientOp::flops(std::span<const TensorType> inputs, std::span<const TensorType> outputs) const {
  return loss_.flops(inputs, outputs) + 2 * static_cast<double>(inputs[0].elements());
}

namespace {

bool is_one(const FusionSite& site, const Node& node, int input) {
  const Node* producer = site.producer(node, input);
  const auto* fill = producer == nullptr ? nullptr : dynamic_cast<const FillOp*>(producer->op.get());
  return fill != nullptr && fill->value() == 1;
}

// The backward op, with a cotangent of 1, of a loss that nobody reads before it.
std::optional<Fusion> fuse_backward(const FusionSite& site) {
  const Node& backward = site.node();
  const auto* op = dynamic_cast<const SoftmaxCrossEntropyBackwardOp*>(backward.op.get());
  if (op == nullptr || !is_one(site, backward, static_cast<int>(backward.inputs.size()) - 1)) return std::nullopt;
  const std::vector<ValueId> inputs(backward.inputs.begin(), backward.inputs.end() - 1);
  for (const NodeId id : site.readers[inputs[0]]) {
    const Node& forward = site.graph.node(id);
    const auto* loss = dynamic_cast<const SoftmaxCrossEntropyOp*>(forward.op.get());
    if (loss == nullptr || site.taken[id] || forward.inputs != inputs || loss->attributes() != op->attributes()) continue;
    const std::vector<NodeId>& readers = site.readers[forward.outputs[0]];
    if (!std::ranges::all_of(readers, [&](NodeId reader) { return reader > site.root; })) continue;
    return Fusion{std::make_shared<CrossEntropyWithGradientOp>(op->loss()), inputs,
                  {forward.outputs[0], backward.outputs[0]}, {id}};
  }
  return std::nullopt;
}

// The gradient of logits that were cast from bf16, cast to bf16.
std::optional<Fusion> fuse_casts(const FusionSite& site) {
  const auto* to_low = dynamic_cast<const CastOp*>(site.node().op.get());
  if (to_low == nullptr || to_low->to() != DType::kBF16) return std::nullopt;
  const Node* loss = site.producer(site.node(), 0);
  const ValueId gradient = site.node().inputs[0];
  if (loss == nullptr || dynamic_cast<const CrossEntropyWithGradientOp*>(loss->op.get()) == nullptr) return std::nullopt;
  if (gradient != loss->outputs[1]) return std::nullopt;  // the loss itself
  const NodeId id = site.graph.value(gradient).producer;
  const ValueId logits = loss->inputs[0];
  const Node* from_low = site.producer(*loss, 0);
  if (from_low == nullptr || dynamic_cast<const CastOp*>(from_low->op.get()) == nullptr) return std::nullopt;
  if (site.graph.type(from_low->inputs[0]).dtype != DType::kBF16) return std::nullopt;
  if (!site.only_read_by(gradient, site.root) || !site.only_read_by(logits, id)) return std::nullopt;
  if (!std::ranges::all_of(site.readers[loss->outputs[0]], [&](NodeId reader) { return reader > site.root; })) {
    return std::nullopt;
  }
  Fusion fusion{loss->op, loss->inputs, {loss->outputs[0], site.node().outputs[0]},
                {id, site.graph.value(logits).producer}};
  fusion.inputs[0] = from_low->inputs[0];
  return fusion;
}

}  // namespace

std::vector<FusionPattern> cross_entropy_fusions() {
  return {{"softmax_cross_entropy+backward", fuse_backward}, {"cast+cross_entropy+cast", fuse_casts}};
}

}  // namespace lockstep
