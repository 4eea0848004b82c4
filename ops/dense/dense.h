// A matrix product along the last axis: y (..., out) = f(x (..., in) · w (in, out) + b (out)), with
// bias and activation f optional. Keras' Dense; PyTorch's Linear has the transposed weight.
//
// x and w are f32 or both bf16 (then y is, too); the bias is f32. Sums are taken in f32, and bias
// and activation are applied before y is rounded (on a GPU, activations other than relu and the approximate gelu are applied to
// what is rounded to bf16, and the bias may be). The gradient of w is f32 in both cases.
#pragma once

#include <optional>
#include <string>

#include "core/graph/graph.h"
#include "core/kernel/kernel.h"
#include "core/passes/fuse.h"
#include "ops/activation/activation.h"

namespace lockstep {

class OnnxRegistry;

// Inputs x, w and optionally b.
class DenseOp final : public Op {
 public:
  explicit DenseOp(std::optional<Activation> activation = std::nullopt) : activation_(activation) {}
  std::string_view name() const override { return "dense"; }
  std::string attributes() const override;
  std::vector<TensorType> infer(std::span<const TensorType> inputs) const override;
  Traits traits() const override { return {.precision = Precision::kLow, .may_be_low = 2}; }
  // An activation whose gradient is not a function of y (gelu) has none here: broken_invariant.
  void gradient(Backward& backward) const override;
  double flops(std::span<const TensorType> inputs,
               std::span<const TensorType> outputs) const override;
  const std::optional<Activation>& activation() const { return activation_; }

 private:
  std::optional<Activation> activation_;
};

// dx (..., in) = dy (..., out) · wᵀ from inputs dy and w.
class DenseBackwardDataOp final : public Op {
 public:
  std::string_view name() const override { return "dense_backward_data"; }
  std::vector<TensorType> infer(std::span<const TensorType> inputs) const override;
  Traits traits() const override { return {.precision = Precision::kLow}; }
  double flops(std::span<const TensorType> inputs,
               std::span<const TensorType> outputs) const override;
};

// dw (in, out) f32 = xᵀ · dy from inputs x and dy, summed over all other axes; and, where the op has it, the gradient of the
// bias, db (out) f32.
class DenseBackwardWeightsOp final : public Op {
 public:
  explicit DenseBackwardWeightsOp(bool bias = false) : bias_(bias) {}
  std::string_view name() const override { return "dense_backward_weights"; }
  std::string attributes() const override { return bias_ ? "bias=true" : ""; }
  std::vector<TensorType> infer(std::span<const TensorType> inputs) const override;
  Traits traits() const override { return {.precision = Precision::kLow}; }
  double flops(std::span<const TensorType> inputs,
               std::span<const TensorType> outputs) const override;
  bool bias() const { return bias_; }

 private:
  bool bias_;
};

ValueId dense(Graph& graph, ValueId x, ValueId w, const std::string& name = "");
ValueId dense(Graph& graph, ValueId x, ValueId w, ValueId b, std::optional<Activation> activation,
              const std::string& name = "");

void register_dense_cpu(KernelRegistry& registry);
void register_dense_cuda(KernelRegistry& registry);
void register_dense_onnx(OnnxRegistry& registry);

// dense+bias, dense+activation.
std::vector<FusionPattern> dense_fusions();
// dense_backward_weights+bias_backward, for GPUs: one launch less, and dy is read once. On the CPU the gradient of the bias
// is as fast beside the matrix product as inside it.
std::vector<FusionPattern> dense_gradient_fusions();

}  // namespace lockstep
