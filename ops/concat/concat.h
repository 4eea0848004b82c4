// Concatenation along an axis, of one or more tensors of one type whose other extents agree. Any
// element type.
#pragma once

#include <string>

#include "core/graph/graph.h"
#include "core/kernel/kernel.h"

namespace lockstep {

class OnnxRegistry;

class ConcatOp final : public Op {
 public:
  // Negative axes count from the end.
  explicit ConcatOp(int axis) : axis_(axis) {}
  std::string_view name() const override { return "concat"; }
  std::string attributes() const override;
  std::vector<TensorType> infer(std::span<const TensorType> inputs) const override;
  Traits traits() const override { return {.precision = Precision::kFollow}; }
  void gradient(Backward& backward) const override;
  double flops(std::span<const TensorType>, std::span<const TensorType>) const override {
    return 0;
  }
  int axis() const { return axis_; }

 private:
  int axis_;
};

// The parts of dy (one output each), of the given extents along the axis.
class ConcatBackwardOp final : public Op {
 public:
  ConcatBackwardOp(int axis, std::vector<std::int64_t> extents)
      : axis_(axis), extents_(std::move(extents)) {}
  std::string_view name() const override { return "concat_backward"; }
  std::string attributes() const override;
  std::vector<TensorType> infer(std::span<const TensorType> inputs) const override;
  Traits traits() const override { return {.precision = Precision::kFollow}; }
  double flops(std::span<const TensorType>, std::span<const TensorType>) const override {
    return 0;
  }
  int axis() const { return axis_; }

 private:
  int axis_;
  std::vector<std::int64_t> extents_;
};

ValueId concat(Graph& graph, const std::vector<ValueId>& values, int axis = -1,
               const std::string& name = "");

void register_concat_cpu(KernelRegistry& registry);
void register_concat_cuda(KernelRegistry& registry);
void register_concat_onnx(OnnxRegistry& registry);

}  // namespace lockstep
