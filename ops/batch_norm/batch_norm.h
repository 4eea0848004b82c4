// Batch normalisation: each channel (the last axis) is brought to mean 0 and variance 1 over all
// other axes, then scaled and shifted. S. Ioffe, C. Szegedy, "Batch normalization", ICML 2015.
//
//   y = (x - mean) / sqrt(variance + epsilon) * scale + offset
//
// x is f32 or bf16, (..., channels); scale, offset, mean and variance are f32(channels); the
// arithmetic is f32. The variance is the biased one (divided by the count), in y and as a result:
// Keras keeps the moving average of that, PyTorch of the unbiased one (divided by the count less
// 1).
//
// With `relu` the result is max(y, 0): the fused form of batch norm and relu.
#pragma once

#include <string>
#include <vector>

#include "core/graph/graph.h"
#include "core/kernel/kernel.h"
#include "core/passes/fuse.h"

namespace lockstep {

class OnnxRegistry;

// Training. Inputs: x, scale, offset. Outputs: y as x, mean f32(channels), variance f32(channels).
class BatchNormOp final : public Op {
 public:
  explicit BatchNormOp(double epsilon, bool relu = false) : epsilon_(epsilon), relu_(relu) {}
  std::string_view name() const override { return "batch_norm"; }
  std::string attributes() const override;
  std::vector<TensorType> infer(std::span<const TensorType> inputs) const override;
  Traits traits() const override { return {.precision = Precision::kAsIs}; }
  // Also of mean and variance, where their cotangents are given.
  void gradient(Backward& backward) const override;
  double flops(std::span<const TensorType> inputs,
               std::span<const TensorType> outputs) const override;
  double epsilon() const { return epsilon_; }
  bool relu() const { return relu_; }

 private:
  double epsilon_;
  bool relu_;
};

// Inputs: dy, x, scale, offset, mean, variance, and optionally the cotangents of mean and variance.
// Outputs: dx as x, the gradients of scale and of offset, f32(channels). With relu, dy is the
// cotangent of max(y, 0); where y > 0 is computed again from x.
class BatchNormBackwardOp final : public Op {
 public:
  explicit BatchNormBackwardOp(double epsilon, bool relu = false)
      : epsilon_(epsilon), relu_(relu) {}
  std::string_view name() const override { return "batch_norm_backward"; }
  std::string attributes() const override;
  std::vector<TensorType> infer(std::span<const TensorType> inputs) const override;
  Traits traits() const override { return {.precision = Precision::kAsIs}; }
  double flops(std::span<const TensorType> inputs,
               std::span<const TensorType> outputs) const override;
  double epsilon() const { return epsilon_; }
  bool relu() const { return relu_; }

 private:
  double epsilon_;
  bool relu_;
};

// With a mean and variance that are given: in inference, or where they are those of more than this
// microbatch. Inputs: x, scale, offset, mean, variance. Output: y as x.
class BatchNormInferenceOp final : public Op {
 public:
  explicit BatchNormInferenceOp(double epsilon, bool relu = false)
      : epsilon_(epsilon), relu_(relu) {}
  std::string_view name() const override { return "batch_norm_inference"; }
  std::string attributes() const override;
  std::vector<TensorType> infer(std::span<const TensorType> inputs) const override;
  Traits traits() const override { return {.precision = Precision::kAsIs}; }
  void gradient(Backward& backward) const override;
  double flops(std::span<const TensorType> inputs,
               std::span<const TensorType> outputs) const override;
  double epsilon() const { return epsilon_; }
  bool relu() const { return relu_; }

 private:
  double epsilon_;
  bool relu_;
};

// Inputs: dy, x, scale, offset, mean, variance. Outputs: dx as x, and the gradients of scale,
// offset, mean and variance, f32(channels).
class BatchNormInferenceBackwardOp final : public Op {
 public:
  explicit BatchNormInferenceBackwardOp(double epsilon, bool relu = false)
      : epsilon_(epsilon), relu_(relu) {}
  std::string_view name() const override { return "batch_norm_inference_backward"; }
  std::string attributes() const override;
  std::vector<TensorType> infer(std::span<const TensorType> inputs) const override;
  Traits traits() const override { return {.precision = Precision::kAsIs}; }
  double flops(std::span<const TensorType> inputs,
               std::span<const TensorType> outputs) const override;
  double epsilon() const { return epsilon_; }
  bool relu() const { return relu_; }

 private:
  double epsilon_;
  bool relu_;
};

// Mean and biased variance of each channel. Input: x. Outputs: mean, variance, f32(channels).
class BatchMomentsOp final : public Op {
 public:
  std::string_view name() const override { return "batch_moments"; }
  std::vector<TensorType> infer(std::span<const TensorType> inputs) const override;
  Traits traits() const override { return {.precision = Precision::kAsIs}; }
  void gradient(Backward& backward) const override;
  double flops(std::span<const TensorType> inputs,
               std::span<const TensorType> outputs) const override;
};

// Inputs: x, mean, and the cotangents of mean and variance. Output: dx as x.
class BatchMomentsBackwardOp final : public Op {
 public:
  std::string_view name() const override { return "batch_moments_backward"; }
  std::vector<TensorType> infer(std::span<const TensorType> inputs) const override;
  Traits traits() const override { return {.precision = Precision::kAsIs}; }
  double flops(std::span<const TensorType> inputs,
               std::span<const TensorType> outputs) const override;
};

struct BatchNormResult {
  ValueId y = kNoValue, mean = kNoValue, variance = kNoValue;
};

BatchNormResult batch_norm(Graph& graph, ValueId x, ValueId scale, ValueId offset, double epsilon,
                           const std::string& name = "");
// The same with mean and variance of the whole batch, whatever its microbatches and the workers that
// have them. As PyTorch's SyncBatchNorm, but the sums over the microbatches are in the fixed tree.
BatchNormResult synchronized_batch_norm(Graph& graph, ValueId x, ValueId scale, ValueId offset,
                                        double epsilon, const std::string& name = "");
ValueId batch_norm_inference(Graph& graph, ValueId x, ValueId scale, ValueId offset, ValueId mean,
                             ValueId variance, double epsilon, const std::string& name = "");

void register_batch_norm_cpu(KernelRegistry& registry);
void register_batch_norm_cuda(KernelRegistry& registry);
void register_batch_norm_onnx(OnnxRegistry& registry);
// batch_norm + relu, batch_norm_inference + relu, and the two backward ops of the first.
std::vector<FusionPattern> batch_norm_fusions();

}  // namespace lockstep
