// Bias along the last axis: y (..., c) = x (..., c) + b (c).
//
// x is f32 or bf16; b is f32 in both cases and the sum is taken in f32. The gradient of b is the
// sum of dy over all axes but the last, in f32, in a fixed order.
#pragma once

#include <string>

#include "core/graph/graph.h"
#include "core/kernel/kernel.h"

namespace lockstep {

class OnnxRegistry;

class BiasOp final : public Op {
 public:
  std::string_view name() const override { return "bias"; }
  std::vector<TensorType> infer(std::span<const TensorType> inputs) const override;
  Traits traits() const override { return {.may_overwrite = 0, .precision = Precision::kAsIs}; }
  void gradient(Backward& backward) const override;
};

// db (c) f32 from dy (..., c).
class BiasBackwardOp final : public Op {
 public:
  std::string_view name() const override { return "bias_backward"; }
  std::vector<TensorType> infer(std::span<const TensorType> inputs) const override;
  Traits traits() const override { return {.precision = Precision::kAsIs}; }
  double flops(std::span<const TensorType> inputs,
               std::span<const TensorType> outputs) const override;
};

ValueId bias(Graph& graph, ValueId x, ValueId b, const std::string& name = "");
// The gradient of b alone, for ops that fuse the bias in.
ValueId bias_backward(Graph& graph, ValueId dy, const std::string& name = "");

void register_bias_cpu(KernelRegistry& registry);
void register_bias_cuda(KernelRegistry& registry);
void register_bias_onnx(OnnxRegistry& registry);

}  // namespace lockstep
