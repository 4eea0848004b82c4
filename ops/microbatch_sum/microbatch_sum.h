// The sum of a value over all microbatches of the batch, the same for each of them: what a layer needs that looks at the
// whole batch, however it is cut and whoever computes the parts. The sum is in the fixed tree, so it has the same bits on any
// number of workers.
//
// y = sum over m of x_m, f32 of any shape, equal in all microbatches. As every y depends on every x, the gradient of x_m is
// the sum of the cotangents of all y: the same op.
#pragma once

#include <string>

#include "core/graph/graph.h"
#include "core/kernel/kernel.h"

namespace lockstep {

class MicrobatchSumOp final : public Op {
 public:
  std::string_view name() const override { return "microbatch_sum"; }
  std::vector<TensorType> infer(std::span<const TensorType> inputs) const override;
  Traits traits() const override { return {.sums_microbatches = true, .precision = Precision::kFull}; }
  void gradient(Backward& backward) const override;
  double flops(std::span<const TensorType>, std::span<const TensorType>) const override { return 0; }
};

ValueId microbatch_sum(Graph& graph, ValueId x, const std::string& name = "");

// Of a graph of one microbatch: a copy.
void register_microbatch_sum_cpu(KernelRegistry& registry);
void register_microbatch_sum_cuda(KernelRegistry& registry);

}  // namespace lockstep
