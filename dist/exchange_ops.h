// The collectives of a step, as ops on the communication stream. Their kernels hold the worker's communicator.
#pragma once

#include "core/graph/graph.h"
#include "core/kernel/kernel.h"
#include "dist/communicator.h"
#include "dist/reduction_tree.h"

namespace lockstep {

// Which microbatches there are, who computes which, and which part of a value each rank receives.
struct ExchangePlan {
  std::int64_t microbatches = 1;
  int rank = 0, world_size = 1;
  std::vector<Range> chunks;  // by rank, in elements

  std::vector<TreeNode> parts_of(int of_rank) const {
    return covering_subtrees(piece_of(microbatches, world_size, of_rank));
  }
  std::string to_string() const;
};

// Inputs: this rank's partial sums, one f32(n) for each of its subtrees (none where it has no microbatch). Output:
// the finished sum of this rank's chunk, f32(chunk). Every rank sends the chunks of its partial sums to their
// owners, who finish the tree: with a power of two of ranks (W - 1) / W of n elements out and in, as a ring
// reduce-scatter. With chunks that are all of the value, every rank receives everything (scalars).
class TreeReduceOp final : public Op {
 public:
  TreeReduceOp(ExchangePlan plan, std::int64_t elements)
      : plan_(std::move(plan)), elements_(elements) {}
  std::string_view name() const override { return "tree_reduce"; }
  std::string attributes() const override;
  std::vector<TensorType> infer(std::span<const TensorType> inputs) const override;
  Traits traits() const override { return {.side_effect = true, .communicates = true}; }
  const ExchangePlan& plan() const { return plan_; }

 private:
  ExchangePlan plan_;
  std::int64_t elements_;
};

// Input f32(chunk) of this rank, output f32(n): all chunks.
class AllGatherOp final : public Op {
 public:
  AllGatherOp(ExchangePlan plan, std::int64_t elements)
      : plan_(std::move(plan)), elements_(elements) {}
  std::string_view name() const override { return "all_gather"; }
  std::string attributes() const override;
  std::vector<TensorType> infer(std::span<const TensorType> inputs) const override;
  Traits traits() const override { return {.side_effect = true, .communicates = true}; }
  const ExchangePlan& plan() const { return plan_; }

 private:
  ExchangePlan plan_;
  std::int64_t elements_;
};

// Inputs: a state f32(n) whose chunk of this rank is new (overwritten: the other chunks arrive), and that chunk's new
// value, which lies in the state's memory. Output: the new state.
class GatherStateOp final : public Op {
 public:
  explicit GatherStateOp(ExchangePlan plan) : plan_(std::move(plan)) {}
  std::string_view name() const override { return "gather_state"; }
  std::string attributes() const override { return plan_.to_string(); }
  std::vector<TensorType> infer(std::span<const TensorType> inputs) const override;
  Traits traits() const override {
    return {.mutates = 1u, .side_effect = true, .communicates = true};
  }
  const ExchangePlan& plan() const { return plan_; }

 private:
  ExchangePlan plan_;
};

// Kernels for host memory. `communicator` outlives them.
void register_exchange_cpu(KernelRegistry& registry, Communicator& communicator);

}  // namespace lockstep
