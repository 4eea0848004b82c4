// The ops of exchange on a random split, for whoever has kernels for them: run on some device, they give what the kernels of
// the CPU give, bit for bit.
#pragma once

#include <cstring>
#include <memory>
#include <vector>

#include "core/device/device.h"
#include "dist/exchange_ops.h"
#include "tests/dist/random_split.h"

namespace lockstep::testing {

enum class ExchangeKind { kTreeReduce, kTreeAllReduce, kAllGather, kGatherState, kFastGatherState, kFastReduce };
inline constexpr ExchangeKind kExactKinds[] = {ExchangeKind::kTreeReduce, ExchangeKind::kTreeAllReduce,
                                               ExchangeKind::kAllGather, ExchangeKind::kGatherState};

// One op as one rank sees it.
struct ExchangeCase {
  std::shared_ptr<const Op> op;
  std::vector<std::vector<float>> inputs;
  std::int64_t elements = 0;  // of the output
  // Input 1 lies in input 0 from here on, and the output is input 0; -1: all have memory of their own.
  std::int64_t chunk_of_state = -1;
};

inline std::vector<float> values_of(std::int64_t salt, Range range) {
  std::vector<float> out;
  for (std::int64_t i = range.begin; i < range.end; ++i) out.push_back(value_of(salt, i));
  return out;
}

// The sums of a rank's subtrees.
inline std::vector<std::vector<float>> parts_of_rank(const ExchangePlan& plan, std::int64_t elements) {
  std::vector<std::vector<float>> out;
  for (const TreeNode& node : plan.parts_of(plan.rank)) {
    std::vector<float>& values = out.emplace_back();
    for (std::int64_t i = 0; i < elements; ++i) values.push_back(tree_sum(node, plan.microbatches, i));
  }
  return out;
}

inline ExchangeCase exchange_case(ExchangeKind kind, const Split& split, int rank) {
  const ExchangePlan plan{split.microbatches, rank, split.nodes, split.chunks};
  const std::int64_t elements = split.elements;
  switch (kind) {
    case ExchangeKind::kTreeReduce:
      return {std::make_shared<TreeReduceOp>(plan, elements), parts_of_rank(plan, elements), plan.chunk().size()};
    case ExchangeKind::kTreeAllReduce: {
      const ExchangePlan whole{split.microbatches, rank, split.nodes, std::vector<Range>(split.chunks.size(), {0, elements})};
      return {std::make_shared<TreeAllReduceOp>(whole, elements), parts_of_rank(whole, elements), elements};
    }
    case ExchangeKind::kAllGather:
      return {std::make_shared<AllGatherOp>(plan, elements), {values_of(0, plan.chunk())}, elements};
    case ExchangeKind::kGatherState:
    case ExchangeKind::kFastGatherState: {
      // The chunks of others are still the ones before the step.
      std::vector<float> state = values_of(1, {0, elements});
      for (std::int64_t i = plan.chunk().begin; i < plan.chunk().end; ++i) state[static_cast<std::size_t>(i)] = value_of(0, i);
      const bool fast = kind == ExchangeKind::kFastGatherState;
      return {std::make_shared<GatherStateOp>(plan, fast), {state, {}}, elements, plan.chunk().begin};
    }
    case ExchangeKind::kFastReduce:
      return {std::make_shared<FastReduceOp>(plan, elements), {values_of(rank, {0, elements})}, plan.chunk().size()};
  }
  return {};
}

// A kernel with its memory.
class BoundExchange {
 public:
  BoundExchange(const KernelRegistry& registry, Device& device, const ExchangeCase& one) : device_(device), case_(one) {
    std::vector<TensorType> types;
    for (const std::vector<float>& values : one.inputs) {
      const std::size_t bytes = values.size() * sizeof(float);
      types.push_back({DType::kF32, {static_cast<std::int64_t>(values.size())}, nullptr});
      memory_.push_back(device.allocate(bytes, MemoryKind::kShared));
      device.copy_in(memory_.back().data(), values.data(), bytes);
      inputs_.push_back(memory_.back().data());
    }
    memory_.push_back(device.allocate(static_cast<std::size_t>(one.elements) * sizeof(float), MemoryKind::kShared));
    outputs_ = {memory_.back().data()};
    if (one.chunk_of_state >= 0) {
      const auto& plan = dynamic_cast<const GatherStateOp&>(*one.op).plan();
      types[1] = {DType::kF32, {plan.chunk().size()}, nullptr};
      inputs_[1] = static_cast<float*>(inputs_[0]) + one.chunk_of_state;
      outputs_ = {inputs_[0]};
    }
    const std::vector<TensorType> results = one.op->infer(types);
    kernel_ = registry.make({*one.op, types, results, device});
    workspace_ = device.allocate(kernel_.workspace_bytes);
  }

  const Kernel& kernel() const { return kernel_; }
  void launch(StreamKind stream = StreamKind::kCommunication) {
    kernel_.run({inputs_.data(), outputs_.data(), workspace_.data(), device_.stream(stream)});
  }
  std::vector<float> result() {
    device_.synchronize();  // also where this rank receives nothing: others wait for it
    std::vector<float> out(static_cast<std::size_t>(case_.elements));
    device_.copy_out(out.data(), outputs_[0], out.size() * sizeof(float));
    return out;
  }

 private:
  Device& device_;
  const ExchangeCase case_;
  std::vector<Memory> memory_;
  Memory workspace_;
  std::vector<void*> inputs_, outputs_;
  Kernel kernel_;
};

inline std::vector<float> run_exchange(const KernelRegistry& registry, Device& device, const ExchangeCase& one) {
  BoundExchange bound(registry, device, one);
  for (int again = 0; again < 2; ++again) bound.launch();
  return bound.result();
}

// Of floats, as bits: also where they are not numbers.
inline bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0);
}

}  // namespace lockstep::testing
