// What is done with gradients between backward and update: their global norm, clipping, and the
// check that they are finite; and the moving averages of statistics.
//
//   each shard:      sums = square_sums(graph, gradients, blocks)      f32(blocks)
//   gathered:        scale = gradient_scale(graph, all_sums, clip_norm)
//   each shard:      optimizer->build(..., scale.factor, ...)
//
// A device that runs ahead of the host does step n + 1 before the host has seen that step n was not finite. There
// sticky_gradient_scale() is used: its factor stays NaN, so that nothing changes until the host has looked.
#pragma once

#include "core/graph/graph.h"
#include "core/kernel/kernel.h"

namespace lockstep {

// The most elements behind one sum of squares. Blocks are counted from the begin of each parameter, and shards
// begin at blocks, so the norm has the same bits however the parameters are divided.
inline constexpr std::int64_t kNormBlock = 1024;

// f32(n) -> f32(blocks): the sum of squares of each block, in an order that depends on the position within
// the block only. `begins`: where each block begins, and n at the end.
class SquareSumsOp final : public Op {
 public:
  explicit SquareSumsOp(std::vector<std::int64_t> begins) : begins_(std::move(begins)) {}
  std::string_view name() const override { return "square_sums"; }
  std::string attributes() const override;
  const std::vector<std::int64_t>& begins() const { return begins_; }
  std::vector<TensorType> infer(std::span<const TensorType> inputs) const override;
  double flops(std::span<const TensorType> inputs,
               std::span<const TensorType> outputs) const override;

 private:
  std::vector<std::int64_t> begins_;
};

// f32(blocks) -> factor f32(), norm f32(). The norm is the root of the sum over all blocks, summed
// in f64 in one binary tree over the block index (aligned subtrees: blocks of zeros at the end
// change nothing). factor = min(1, clip_norm / (norm + 1e-6)) as torch.nn.utils.clip_grad_norm_, 1
// where clip_norm is 0 (no limit), and NaN where the norm is NaN or infinite, so that no update
// happens.
class GradientScaleOp final : public Op {
 public:
  explicit GradientScaleOp(double clip_norm) : clip_norm_(clip_norm) {}
  std::string_view name() const override { return "gradient_scale"; }
  std::string attributes() const override;
  std::vector<TensorType> infer(std::span<const TensorType> inputs) const override;
  double clip_norm() const { return clip_norm_; }

 private:
  double clip_norm_;
};

// Inputs: halted f32(), overwritten, and the sums f32(blocks). Outputs: halted, 1 where it was not 0 or the norm is not finite,
// else 0; factor f32() as above, but NaN where halted is 1; norm f32().
class StickyGradientScaleOp final : public Op {
 public:
  explicit StickyGradientScaleOp(double clip_norm) : scale_(clip_norm) {}
  std::string_view name() const override { return "sticky_gradient_scale"; }
  std::string attributes() const override { return scale_.attributes(); }
  std::vector<TensorType> infer(std::span<const TensorType> inputs) const override;
  Traits traits() const override { return {.mutates = 1u}; }
  double clip_norm() const { return scale_.clip_norm(); }

 private:
  GradientScaleOp scale_;
};

// Inputs: state f32(n), overwritten; batch value f32(n); gradient scale f32().
// state = momentum * state + (1 - momentum) * batch value; unchanged where the scale is not finite.
class MovingAverageOp final : public Op {
 public:
  explicit MovingAverageOp(double momentum) : momentum_(momentum) {}
  std::string_view name() const override { return "moving_average"; }
  std::string attributes() const override;
  std::vector<TensorType> infer(std::span<const TensorType> inputs) const override;
  Traits traits() const override { return {.mutates = 1u}; }
  double flops(std::span<const TensorType> inputs,
               std::span<const TensorType> outputs) const override;
  double momentum() const { return momentum_; }

 private:
  double momentum_;
};

struct GradientScale {
  ValueId factor = kNoValue, norm = kNoValue;
};

ValueId square_sums(Graph& graph, ValueId gradients, std::vector<std::int64_t> begins,
                    const std::string& name = "");
// REQUIRES: clip_norm >= 0; 0 means no limit.
GradientScale gradient_scale(Graph& graph, ValueId block_sums, double clip_norm,
                             const std::string& name = "");
// The same with a memory: `halted` is a state f32(), 0 at the start. From the first norm that is not finite on the state is
// 1 and the factor is NaN, at later steps too, whatever their norm, until the host sets the state to 0 again. The norm is
// always that of this step.
GradientScale sticky_gradient_scale(Graph& graph, ValueId block_sums, ValueId halted, double clip_norm,
                                    const std::string& name = "");
ValueId moving_average(Graph& graph, ValueId state, ValueId batch_value, ValueId gradient_scale,
                       double momentum, const std::string& name = "");

void register_gradient_ops_cpu(KernelRegistry& registry);
void register_gradient_ops_cuda(KernelRegistry& registry);

}  // namespace lockstep
