// Layer normalisation: each sample (and position) is brought to mean 0 and variance 1 over its last
// axes, then scaled and shifted by element. J. Ba, J. Kiros, G. Hinton, "Layer normalization",
// arXiv:1607.06450, 2016.
//
//   y = (x - mean) / sqrt(variance + epsilon) * scale + offset,  the variance divided by the count
//
// x is f32 or bf16, (..., features...); scale and offset are f32(features...), and their rank says
// over how many axes. The arithmetic is f32. Agrees with Keras and PyTorch (whose default epsilons
// are 1e-3 and 1e-5).
#pragma once

#include <string>

#include "core/graph/graph.h"
#include "core/kernel/kernel.h"

namespace lockstep {

class OnnxRegistry;

// Inputs: x, scale, offset. Output: y as x.
class LayerNormOp final : public Op {
 public:
  explicit LayerNormOp(double epsilon) : epsilon_(epsilon) {}
  std::string_view name() const override { return "layer_norm"; }
  std::string attributes() const override;
  std::vector<TensorType> infer(std::span<const TensorType> inputs) const override;
  Traits traits() const override { return {.precision = Precision::kAsIs}; }
  void gradient(Backward& backward) const override;
  double flops(std::span<const TensorType> inputs,
               std::span<const TensorType> outputs) const override;
  double epsilon() const { return epsilon_; }

 private:
  double epsilon_;
};

// Inputs: dy, x, scale. Outputs: dx as x, the gradients of scale and of offset, f32. Mean and
// variance are computed again: a row lies in the first cache then, and nothing has to be stored.
class LayerNormBackwardOp final : public Op {
 public:
  explicit LayerNormBackwardOp(double epsilon) : epsilon_(epsilon) {}
  std::string_view name() const override { return "layer_norm_backward"; }
  std::string attributes() const override;
  std::vector<TensorType> infer(std::span<const TensorType> inputs) const override;
  Traits traits() const override { return {.precision = Precision::kAsIs}; }
  double flops(std::span<const TensorType> inputs,
               std::span<const TensorType> outputs) const override;
  double epsilon() const { return epsilon_; }

 private:
  double epsilon_;
};

ValueId layer_norm(Graph& graph, ValueId x, ValueId scale, ValueId offset, double epsilon,
                   const std::string& name = "");

void register_layer_norm_cpu(KernelRegistry& registry);
void register_layer_norm_cuda(KernelRegistry& registry);
void register_layer_norm_onnx(OnnxRegistry& registry);

}  // namespace lockstep
