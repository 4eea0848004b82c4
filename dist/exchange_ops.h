// The collectives of a step, as ops on the communication stream. Their kernels hold the worker's communicator.
#pragma once

#include "core/graph/graph.h"
#include "core/kernel/kernel.h"
#include "dist/communicator.h"
#include "dist/reduction_tree.h"

namespace lockstep {

// Which microbatches there are, who computes which, who sits where, and which part of a value each rank owns.
struct ExchangePlan {
  std::int64_t microbatches = 1;
  int rank = 0;
  std::vector<int> nodes;     // the node of each rank (Communicator::nodes)
  std::vector<Range> chunks;  // by rank, in elements

  int world_size() const { return static_cast<int>(chunks.size()); }
  Range chunk() const { return chunks[rank]; }
  std::vector<TreeNode> parts_of(int of_rank) const {
    return covering_subtrees(piece_of(microbatches, world_size(), of_rank));
  }
  // The rank of `node` that handles the chunk of rank `owner` there: the owner where it is at home, else another for
  // each chunk in turn.
  int leader(int node, int owner) const;
  std::string to_string() const;
};

// Inputs: this rank's partial sums, one f32(n) for each of its subtrees (none where it has no microbatch). Output:
// the finished sum of this rank's chunk, f32(chunk), in the order of the fixed tree.
//
// In two levels. Inside a node, the leader of a chunk reads the partial sums of its neighbours in their memory. Where the
// owner is on another node, it adds siblings of the tree and sends what is left to the owner, who finishes the tree: with a
// power of two of nodes, each node sends and receives (N - 1) / N of n elements, as in a ring reduce-scatter
// between nodes. Steps: 2.
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

// As tree_reduce for a few numbers: every rank receives all partial sums and finishes the tree for itself. Output
// f32(n).
class TreeAllReduceOp final : public Op {
 public:
  TreeAllReduceOp(ExchangePlan plan, std::int64_t elements)
      : plan_(std::move(plan)), elements_(elements) {}
  std::string_view name() const override { return "tree_all_reduce"; }
  std::string attributes() const override;
  std::vector<TensorType> infer(std::span<const TensorType> inputs) const override;
  Traits traits() const override { return {.side_effect = true, .communicates = true}; }
  const ExchangePlan& plan() const { return plan_; }
  std::int64_t elements() const { return elements_; }

 private:
  ExchangePlan plan_;
  std::int64_t elements_;
};

// Input: the sum of this rank's microbatches, f32(n). Output: the sum over ranks of this rank's chunk, in whatever order
// the library likes (train.reduction = "fast").
class FastReduceOp final : public Op {
 public:
  FastReduceOp(ExchangePlan plan, std::int64_t elements)
      : plan_(std::move(plan)), elements_(elements) {}
  std::string_view name() const override { return "fast_reduce"; }
  std::string attributes() const override;
  std::vector<TensorType> infer(std::span<const TensorType> inputs) const override;
  Traits traits() const override { return {.side_effect = true, .communicates = true}; }
  const ExchangePlan& plan() const { return plan_; }

 private:
  ExchangePlan plan_;
  std::int64_t elements_;
};

// Input f32(chunk) of this rank, output f32(n): all chunks. For a few numbers.
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
// value, which lies in the state's memory. Output: the new state. Between nodes a chunk goes to its leader on each
// node; inside a node it is read in its place. Steps: 2. `fast`: the library's all-gather.
class GatherStateOp final : public Op {
 public:
  explicit GatherStateOp(ExchangePlan plan, bool fast = false) : plan_(std::move(plan)), fast_(fast) {}
  std::string_view name() const override { return "gather_state"; }
  std::string attributes() const override { return plan_.to_string() + (fast_ ? " fast" : ""); }
  std::vector<TensorType> infer(std::span<const TensorType> inputs) const override;
  Traits traits() const override {
    return {.mutates = 1u, .side_effect = true, .communicates = true};
  }
  const ExchangePlan& plan() const { return plan_; }
  bool fast() const { return fast_; }

 private:
  ExchangePlan plan_;
  bool fast_;
};

// Kernels for host memory. `communicator` outlives them.
void register_exchange_cpu(KernelRegistry& registry, Communicator& communicator);

}  // namespace lockstep
