// reorder: the same tensor with its elements in another order in memory. The layout pass inserts it
// where two kernels like different layouts.
#pragma once

#include <memory>
#include <string>

#include "core/graph/graph.h"
#include "core/kernel/kernel.h"

namespace lockstep {

class ReorderOp final : public Op {
 public:
  // A null layout is row-major.
  explicit ReorderOp(std::shared_ptr<const Layout> to) : to_(std::move(to)) {}
  std::string_view name() const override { return "reorder"; }
  std::string attributes() const override;
  // The type of the input, row-major: layouts are no matter of shape rules. reorder() sets it.
  std::vector<TensorType> infer(std::span<const TensorType> inputs) const override;
  Traits traits() const override { return {.precision = Precision::kAsIs}; }
  // It moves bytes.
  double flops(std::span<const TensorType>, std::span<const TensorType>) const override {
    return 0;
  }
  const std::shared_ptr<const Layout>& to() const { return to_; }

 private:
  std::shared_ptr<const Layout> to_;
};

// The value in the layout `to`; a ReorderBuilder of core/passes/layout.h.
ValueId reorder(Graph& graph, ValueId value, std::shared_ptr<const Layout> to);

void register_reorder_cpu(KernelRegistry& registry);
void register_reorder_cuda(KernelRegistry& registry);

}  // namespace lockstep
