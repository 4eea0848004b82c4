// Softmax and cross-entropy together with the gradient of the logits, which are read once for both. Only the fuse pass makes
// this op, in training, where the loss is what is differentiated.
#pragma once

#include <string>
#include <vector>

#include "core/graph/graph.h"
#include "core/kernel/kernel.h"
#include "core/passes/fuse.h"
#include "ops/losses/softmax_cross_entropy.h"

namespace lockstep {

// Inputs: those of the loss (softmax_cross_entropy.h); the logits may be bf16, the arithmetic is f32. Outputs: the loss f32(), and
// the gradient of the logits for a cotangent of 1, as the logits.
class CrossEntropyWithGradientOp final : public Op {
 public:
  explicit CrossEntropyWithGradientOp(const SoftmaxCrossEntropyOp& loss) : loss_(loss) {}
  std::string_view name() const override { return "softmax_cross_entropy_with_gradient"; }
  std::string attributes() const override { return loss_.attributes(); }
  std::vector<TensorType> infer(std::span<const TensorType> inputs) const override;
  Traits traits() const override { return {.precision = Precision::kAsIs}; }
  double flops(std::span<const TensorType> inputs, std::span<const TensorType> outputs) const override;
  const SoftmaxCrossEntropyOp& loss() const { return loss_; }

 private:
  SoftmaxCrossEntropyOp loss_;
};

void register_cross_entropy_with_gradient_cpu(KernelRegistry& registry);
void register_cross_entropy_with_gradient_cuda(KernelRegistry& registry);
// softmax_cross_entropy + its backward op, and casts of the logits from bf16 and of their gradient to it.
std::vector<FusionPattern> cross_entropy_fusions();

}  // namespace lockstep
