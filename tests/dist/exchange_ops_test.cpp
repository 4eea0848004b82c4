// The collectives of a step against sums that are made by one rank alone, bit for bit.
#include "dist/exchange_ops.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <random>

#include "core/builtin/builtin.h"
#include "core/device/cpu_device.h"
#include "core/plan/executor.h"
#include "core/plan/lower.h"
#include "tests/dist/world_of_threads.h"

namespace lockstep {
namespace {

using testing::run_world;

// One random way to divide a sum: microbatches, ranks on nodes, and chunks.
struct Split {
  std::int64_t microbatches = 1, elements = 1;
  int world = 1;
  std::vector<int> nodes;
  std::vector<Range> chunks;
};

Split random_split(std::uint32_t seed) {
  std::mt19937 random(seed);
  auto below = [&](int bound) { return static_cast<int>(random() % bound); };
  Split out;
  out.world = 2 + below(7);
  out.microbatches = 1 + below(40);
  out.elements = 1 + below(below(4) == 0 ? 20000 : 50);
  const int nodes = 1 + below(3);
  // Contiguous ranks for each node, or anyhow; numbered in order of their first rank.
  const bool contiguous = below(2) == 0;
  std::map<int, int> numbers;
  for (int r = 0; r < out.world; ++r) {
    const int node = contiguous ? r * nodes / out.world : below(nodes);
    out.nodes.push_back(numbers.emplace(node, static_cast<int>(numbers.size())).first->second);
  }
  std::vector<std::int64_t> cuts{0, out.elements};
  for (int r = 1; r < out.world; ++r) cuts.push_back(below(static_cast<int>(out.elements) + 1));
  std::ranges::sort(cuts);
  for (int r = 0; r < out.world; ++r) out.chunks.push_back({cuts[r], cuts[r + 1]});
  return out;
}

float value_of(std::int64_t microbatch, std::int64_t element) {
  std::uint64_t hash = (static_cast<std::uint64_t>(microbatch) * 1000003 + element + 1) * 0x9E3779B97F4A7C15ull;
  hash ^= hash >> 29;
  return static_cast<float>(static_cast<double>(hash % 2000001) / 1e6 - 1);
}

// The sum of a node of the tree, by its definition.
float tree_sum(const TreeNode& node, std::int64_t count, std::int64_t element) {
  if (node.level == 0) return value_of(node.index, element);
  const TreeNode left{node.level - 1, 2 * node.index}, right{node.level - 1, 2 * node.index + 1};
  const float sum = tree_sum(left, count, element);
  return right.leaves(count).size() == 0 ? sum : sum + tree_sum(right, count, element);
}

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
