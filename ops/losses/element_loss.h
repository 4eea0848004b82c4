// Losses that are a mean over elements: mean_squared_error, mean_absolute_error,
// binary_cross_entropy. Definitions in loss.h, which is how models use them.
#pragma once

#include <string>

#include "core/graph/graph.h"
#include "core/kernel/kernel.h"

namespace lockstep {

enum class ElementLossKind { kSquared, kAbsolute, kBinaryCrossEntropy };

// Inputs: prediction f32(batch, ...), target f32 of the same shape (extents of 1 at the end may
// differ), and optionally weights f32(batch). Output: scale * sum_i w_i * (mean over the elements
// of sample i), f32(). The prediction alone receives a gradient.
class ElementLossOp final : public Op {
 public:
  // REQUIRES: label_smoothing is 0 but for kBinaryCrossEntropy.
  ElementLossOp(ElementLossKind kind, double scale, double label_smoothing = 0.0)
      : kind_(kind), scale_(scale), label_smoothing_(label_smoothing) {}
  std::string_view name() const override;
  std::string attributes() const override;
  std::vector<TensorType> infer(std::span<const TensorType> inputs) const override;
  void gradient(Backward& backward) const override;
  double flops(std::span<const TensorType> inputs,
               std::span<const TensorType> outputs) const override;

  ElementLossKind kind() const { return kind_; }
  double scale() const { return scale_; }
  double label_smoothing() const { return label_smoothing_; }

 private:
  ElementLossKind kind_;
  double scale_, label_smoothing_;
};

// Inputs: those of the loss, then the cotangent f32(). Output: the gradient of the prediction.
// Named
// "<loss>_backward".
class ElementLossBackwardOp final : public Op {
 public:
  explicit ElementLossBackwardOp(const ElementLossOp& loss) : loss_(loss) {}
  std::string_view name() const override;
  std::string attributes() const override { return loss_.attributes(); }
  std::vector<TensorType> infer(std::span<const TensorType> inputs) const override;
  double flops(std::span<const TensorType> inputs,
               std::span<const TensorType> outputs) const override;
  const ElementLossOp& loss() const { return loss_; }

 private:
  ElementLossOp loss_;
};

// `weights` may be kNoValue.
ValueId element_loss(Graph& graph, const ElementLossOp& loss, ValueId prediction, ValueId target,
                     ValueId weights, const std::string& name = "");

void register_element_loss_cpu(KernelRegistry& registry);
void register_element_loss_cuda(KernelRegistry& registry);

}  // namespace lockstep
