// Sum, mean and maximum over a list of axes, f32 or bf16 (the arithmetic is f32).
//
// The order of the additions depends on shape, axes and number of threads only. Sums over no
// elements are 0; mean and maximum over no elements are refused. A maximum over NaN is NaN. The
// gradient of the maximum is shared equally by all elements that attain it, as in Keras and in
// PyTorch's amax.
#pragma once

#include <string>

#include "core/graph/graph.h"
#include "core/kernel/kernel.h"

namespace lockstep {

class OnnxRegistry;

enum class ReduceKind { kSum, kMean, kMax };

class ReduceOp final : public Op {
 public:
  // Negative axes count from the end; no axes mean all. `keepdims` leaves axes of extent 1.
  ReduceOp(ReduceKind kind, std::vector<int> axes, bool keepdims)
      : kind_(kind), axes_(std::move(axes)), keepdims_(keepdims) {}
  std::string_view name() const override;
  std::string attributes() const override;
  std::vector<TensorType> infer(std::span<const TensorType> inputs) const override;
  Traits traits() const override { return {.precision = Precision::kFull}; }
  void gradient(Backward& backward) const override;
  double flops(std::span<const TensorType> inputs,
               std::span<const TensorType> outputs) const override;
  ReduceKind kind() const { return kind_; }
  // By axis of an input of that shape: whether it is reduced. Throws bad_input for an axis that is
  // not there or named twice.
  std::vector<bool> reduced(const Shape& shape) const;

 private:
  ReduceKind kind_;
  std::vector<int> axes_;
  bool keepdims_;
};

// dx of a sum or a mean: dy, whose reduced axes have extent 1, repeated to `shape` and times
// `scale`.
class SumBackwardOp final : public Op {
 public:
  SumBackwardOp(Shape shape, double scale) : shape_(shape), scale_(scale) {}
  std::string_view name() const override { return "reduce_sum_backward"; }
  std::string attributes() const override;
  std::vector<TensorType> infer(std::span<const TensorType> inputs) const override;
  Traits traits() const override { return {.precision = Precision::kAsIs}; }
  double scale() const { return scale_; }

 private:
  Shape shape_;
  double scale_;
};

// dx from dy, y (both with axes of extent 1) and x: dy where x equals y, divided by how many do.
class MaxBackwardOp final : public Op {
 public:
  std::string_view name() const override { return "reduce_max_backward"; }
  std::vector<TensorType> infer(std::span<const TensorType> inputs) const override;
  Traits traits() const override { return {.precision = Precision::kFull}; }
};

ValueId reduce_sum(Graph& graph, ValueId x, const std::vector<int>& axes, bool keepdims = false,
                   const std::string& name = "");
ValueId reduce_mean(Graph& graph, ValueId x, const std::vector<int>& axes, bool keepdims = false,
                    const std::string& name = "");
ValueId reduce_max(Graph& graph, ValueId x, const std::vector<int>& axes, bool keepdims = false,
                   const std::string& name = "");

void register_reduce_cpu(KernelRegistry& registry);
void register_reduce_cuda(KernelRegistry& registry);
void register_reduce_onnx(OnnxRegistry& registry);

}  // namespace lockstep
