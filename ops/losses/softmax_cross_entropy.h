// Softmax and cross-entropy in one op: no probabilities are stored. Definition in loss.h, which is
// how models use it.
#pragma once

#include <string>

#include "core/graph/graph.h"
#include "core/kernel/kernel.h"

namespace lockstep {

// Inputs: logits f32(batch, ..., classes) with at least 2 classes; the target, class numbers i32(batch, ...)
// (extents of 1 at the end may differ) or the classes' shares f32 in the shape of the logits; and optionally
// weights f32(batch). Output: scale * sum_i
// w_i * (mean over the positions of sample i), f32(). The logits alone receive a gradient.
class SoftmaxCrossEntropyOp final : public Op {
 public:
  explicit SoftmaxCrossEntropyOp(double scale, double label_smoothing = 0.0)
      : scale_(scale), label_smoothing_(label_smoothing) {}
  std::string_view name() const override { return "softmax_cross_entropy"; }
  std::string attributes() const override;
  std::vector<TensorType> infer(std::span<const TensorType> inputs) const override;
  void gradient(Backward& backward) const override;
  double flops(std::span<const TensorType> inputs,
               std::span<const TensorType> outputs) const override;

  double scale() const { return scale_; }
  double label_smoothing() const { return label_smoothing_; }

 private:
  double scale_, label_smoothing_;
};

// Inputs: those of the loss, then the cotangent f32(). Output: the gradient of the logits,
// cotangent * scale * w / positions * (softmax(x) * sum of shares - smoothed shares), computed from the logits in
// two passes over each row while it lies in the first cache.
class SoftmaxCrossEntropyBackwardOp final : public Op {
 public:
  explicit SoftmaxCrossEntropyBackwardOp(const SoftmaxCrossEntropyOp& loss) : loss_(loss) {}
  std::string_view name() const override { return "softmax_cross_entropy_backward"; }
  std::string attributes() const override { return loss_.attributes(); }
  std::vector<TensorType> infer(std::span<const TensorType> inputs) const override;
  double flops(std::span<const TensorType> inputs,
               std::span<const TensorType> outputs) const override;
  const SoftmaxCrossEntropyOp& loss() const { return loss_; }

 private:
  SoftmaxCrossEntropyOp loss_;
};

// `weights` may be kNoValue.
ValueId softmax_cross_entropy(Graph& graph, const SoftmaxCrossEntropyOp& loss, ValueId logits,
                              ValueId labels, ValueId weights, const std::string& name = "");

void register_softmax_cross_entropy_cpu(KernelRegistry& registry);
void register_softmax_cross_entropy_cuda(KernelRegistry& registry);

}  // namespace lockstep
