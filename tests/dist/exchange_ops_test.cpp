// The collectives of a step against sums that are made by one rank alone, bit for bit.
#include "dist/exchange_ops.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "core/builtin/builtin.h"
#include "core/device/cpu_device.h"
#include "core/plan/executor.h"
#include "core/plan/lower.h"
#include "tests/dist/random_split.h"
#include "tests/dist/world_of_threads.h"

namespace lockstep {
namespace {

using testing::random_split;
using testing::run_world;
using testing::Split;
using testing::tree_sum;
using testing::value_of;

class Rank {
 public:
  explicit Rank(Communicator& communicator) : states_(device_) {
    register_exchange_cpu(registry_, communicator);
  }

  std::vector<float> run(const Graph& graph, const std::vector<std::vector<float>>& inputs) {
    KernelCache kernels(registry_, device_);
    Executor executor(lower(graph, kernels), states_, arena_);
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      std::ranges::copy(inputs[i], static_cast<float*>(executor.input(text("part", i))));
    }
    for (int again = 0; again < 2; ++again) executor.run();
    const auto* out = static_cast<const float*>(executor.output("sum"));
    return {out, out + executor.plan().outputs[0].type.elements()};
  }
  StateStore& states() { return states_; }

 private:
  CpuDevice device_;
  KernelRegistry registry_;
  StateStore states_;
  Arena arena_{device_};
};

// This rank's partial sums as inputs of a graph.
std::vector<ValueId> add_parts(Graph& graph, const ExchangePlan& plan, std::int64_t elements,
                               std::vector<std::vector<float>>& inputs) {
  std::vector<ValueId> parts;
  for (const TreeNode& node : plan.parts_of(plan.rank)) {
    parts.push_back(graph.input(text("part", parts.size()), {DType::kF32, {elements}, nullptr}));
    std::vector<float>& values = inputs.emplace_back();
    for (std::int64_t i = 0; i < elements; ++i) values.push_back(tree_sum(node, plan.microbatches, i));
  }
  return parts;
}

TEST(TreeReduce, EveryWayToDivideTheSumGivesTheSameBits) {
  for (std::uint32_t seed = 0; seed < 1000; ++seed) {
    const Split split = random_split(seed);
    SCOPED_TRACE(text("seed ", seed, ": ", split.world, " ranks, ", split.microbatches, " microbatches"));
    std::vector<std::vector<float>> sums(split.world);
    run_world(split.world, [&](std::unique_ptr<Communicator> communicator) {
      const ExchangePlan plan{split.microbatches, communicator->rank(), split.nodes, split.chunks};
      Graph graph;
      std::vector<std::vector<float>> inputs;
      const auto parts = add_parts(graph, plan, split.elements, inputs);
      graph.output("sum", graph.add(std::make_shared<TreeReduceOp>(plan, split.elements), parts));
      sums[plan.rank] = Rank(*communicator).run(graph, inputs);
    }, 60, split.nodes);
    for (int rank = 0; rank < split.world; ++rank) {
      const Range chunk = split.chunks[rank];
      ASSERT_EQ(static_cast<std::int64_t>(sums[rank].size()), chunk.size());
      for (std::int64_t i = 0; i < chunk.size(); ++i) {
        ASSERT_EQ(sums[rank][i], tree_sum(tree_root(split.microbatches), split.microbatches, chunk.begin + i));
      }
    }
  }
}

TEST(TreeAllReduce, EveryRankHasTheSum) {
  for (std::uint32_t seed = 0; seed < 100; ++seed) {
    Split split = random_split(seed);
    split.elements = 1 + seed % 3;
    run_world(split.world, [&](std::unique_ptr<Communicator> communicator) {
      const ExchangePlan plan{split.microbatches, communicator->rank(), split.nodes,
                              std::vector<Range>(split.world, Range{0, split.elements})};
      Graph graph;
      std::vector<std::vector<float>> inputs;
      const auto parts = add_parts(graph, plan, split.elements, inputs);
      graph.output("sum", graph.add(std::make_shared<TreeAllReduceOp>(plan, split.elements), parts));
      const auto sum = Rank(*communicator).run(graph, inputs);
      for (std::int64_t i = 0; i < split.elements; ++i) {
        ASSERT_EQ(sum[i], tree_sum(tree_root(split.microbatches), split.microbatches, i)) << "seed " << seed;
      }
    }, 60, split.nodes);
  }
}

TEST(FastReduce, SumsToRounding) {
  for (const int world : {2, 3, 5}) {
    run_world(world, [&](std::unique_ptr<Communicator> communicator) {
      constexpr std::int64_t kElements = 1000;
      std::vector<Range> chunks;
      for (int r = 0; r < world; ++r) chunks.push_back(piece_of(kElements, world, r));
      const ExchangePlan plan{world, communicator->rank(), communicator->nodes(), chunks};
      Graph graph;
      const ValueId mine = graph.input("part0", {DType::kF32, {kElements}, nullptr});
      graph.output("sum", graph.add(std::make_shared<FastReduceOp>(plan, kElements), {mine}));
      std::vector<float> values;
      for (std::int64_t i = 0; i < kElements; ++i) values.push_back(value_of(plan.rank, i));
      const auto sum = Rank(*communicator).run(graph, {values});
      for (std::int64_t i = 0; i < plan.chunk().size(); ++i) {
        double expected = 0;
        for (int r = 0; r < world; ++r) expected += value_of(r, plan.chunk().begin + i);
        ASSERT_NEAR(sum[i], expected, 1e-6);
      }
    });
  }
}

TEST(GatherState, EveryRankHasEveryChunk) {
  for (std::uint32_t seed = 0; seed < 200; ++seed) {
    const Split split = random_split(seed);
    const bool fast = seed % 4 == 3;
    run_world(split.world, [&](std::unique_ptr<Communicator> communicator) {
      const ExchangePlan plan{1, communicator->rank(), split.nodes, split.chunks};
      Graph graph;
      const ValueId state = graph.state("w", {DType::kF32, {split.elements}, nullptr});
      const ValueId chunk = view(graph, state, {plan.chunk().size()}, plan.chunk().begin);
      graph.output("sum", graph.add(std::make_shared<GatherStateOp>(plan, fast), {state, chunk}));
      Rank rank(*communicator);
      auto* values = static_cast<float*>(rank.states().obtain("w", graph.type(state)));
      for (std::int64_t i = plan.chunk().begin; i < plan.chunk().end; ++i) values[i] = value_of(0, i);
      const auto all = rank.run(graph, {});
      for (std::int64_t i = 0; i < split.elements; ++i) ASSERT_EQ(all[i], value_of(0, i)) << "seed " << seed;
    }, 60, split.nodes);
  }
}

}  // namespace
}  // namespace lockstep
