// Softmax along one axis, y = exp(x - max x) / sum exp(x - max x): finite for logits of any size. A
// row that holds NaN or +infinity becomes NaN. f32 only (mixed precision casts); the gradient needs
// y only: dx = y (dy - sum of dy y).
#pragma once

#include <string>

#include "core/graph/graph.h"
#include "core/kernel/kernel.h"

namespace lockstep {

class OnnxRegistry;

class SoftmaxOp final : public Op {
 public:
  // Negative axes count from the end.
  explicit SoftmaxOp(int axis) : axis_(axis) {}
  std::string_view name() const override { return "softmax"; }
  std::string attributes() const override;
  std::vector<TensorType> infer(std::span<const TensorType> inputs) const override;
  Traits traits() const override { return {.may_overwrite = 0, .precision = Precision::kFull}; }
  void gradient(Backward& backward) const override;
  double flops(std::span<const TensorType> inputs,
               std::span<const TensorType> outputs) const override;
  int axis() const { return axis_; }

 private:
  int axis_;
};

// dx from dy and y.
class SoftmaxBackwardOp final : public Op {
 public:
  explicit SoftmaxBackwardOp(int axis) : axis_(axis) {}
  std::string_view name() const override { return "softmax_backward"; }
  std::string attributes() const override;
  std::vector<TensorType> infer(std::span<const TensorType> inputs) const override;
  Traits traits() const override { return {.may_overwrite = 0, .precision = Precision::kFull}; }
  double flops(std::span<const TensorType> inputs,
               std::span<const TensorType> outputs) const override;
  int axis() const { return axis_; }

 private:
  int axis_;
};

ValueId softmax(Graph& graph, ValueId x, int axis = -1, const std::string& name = "");

void register_softmax_cpu(KernelRegistry& registry);
void register_softmax_cuda(KernelRegistry& registry);
void register_softmax_onnx(OnnxRegistry& registry);

}  // namespace lockstep
