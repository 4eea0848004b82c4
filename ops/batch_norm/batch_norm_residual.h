// Batch normalisation at the end of a residual block, together with the sum and the relu behind it: y = relu(batch_norm(x) + r).
// K. He, X. Zhang, S. Ren, J. Sun, "Deep residual learning for image recognition", CVPR 2016.
//
// Only the fuse pass makes these ops: apart, batch norm, sum and relu read and write every element 6 times and their gradients
// 11 times; together 4 and 8 times.
//
// Data is f32 or bf16, (..., channels), all of one type; scale, offset, mean and variance are f32(channels). The arithmetic is
// f32. In bf16 the result of the batch norm is not rounded before the sum.
#pragma once

#include <string>
#include <vector>

#include "core/graph/graph.h"
#include "core/kernel/kernel.h"
#include "core/passes/fuse.h"

namespace lockstep {

// Inputs: x, scale, offset, and r as x. Outputs as of BatchNormOp: y as x, mean, variance.
class BatchNormResidualOp final : public Op {
 public:
  explicit BatchNormResidualOp(double epsilon, bool relu = false) : epsilon_(epsilon), relu_(relu) {}
  std::string_view name() const override { return "batch_norm_residual"; }
  std::string attributes() const override;
  std::vector<TensorType> infer(std::span<const TensorType> inputs) const override;
  Traits traits() const override { return {.precision = Precision::kAsIs}; }
  double flops(std::span<const TensorType> inputs, std::span<const TensorType> outputs) const override;
  double epsilon() const { return epsilon_; }
  bool relu() const { return relu_; }

 private:
  double epsilon_;
  bool relu_;
};

// The gradient of relu and, with its result, that of batch norm. Inputs: dy, y, x, scale, offset, mean, variance, and perhaps
// a second dy, which is added to the first (in bf16 the sum is rounded). Outputs: d = dy where y > 0, else 0, as x, which is
// the gradient of r too; dx as x; the gradients of scale and offset, f32(channels).
class BatchNormResidualBackwardOp final : public Op {
 public:
  explicit BatchNormResidualBackwardOp(double epsilon) : epsilon_(epsilon) {}
  std::string_view name() const override { return "batch_norm_residual_backward"; }
  std::string attributes() const override;
  std::vector<TensorType> infer(std::span<const TensorType> inputs) const override;
  Traits traits() const override { return {.may_overwrite = 0, .precision = Precision::kAsIs}; }
  double flops(std::span<const TensorType> inputs, std::span<const TensorType> outputs) const override;
  double epsilon() const { return epsilon_; }

 private:
  double epsilon_;
};

void register_batch_norm_residual_cpu(KernelRegistry& registry);
void register_batch_norm_residual_cuda(KernelRegistry& registry);
// batch_norm + add, the same + relu, relu_backward + batch_norm_backward where others read the gradient between them, and
// accumulate + that.
std::vector<FusionPattern> batch_norm_residual_fusions();

}  // namespace lockstep
