// From one microbatch to a step of one worker: what is added, in which order, and what is not.
#include "dist/distribute.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "core/builtin/builtin.h"
#include "ops/binary/binary.h"
#include "ops/microbatch_sum/microbatch_sum.h"
#include "ops/reduce/reduce.h"

namespace lockstep {
namespace {

const TensorType kVector{DType::kF32, {2}, nullptr};

// loss = sum(x * w); the gradient of w is the sum of x over the samples.
Graph microbatch(std::int64_t samples, bool synchronized = false) {
  Graph graph;
  const ValueId x = graph.input("x", {DType::kF32, {samples, 2}, nullptr});
  const ValueId w = graph.state("w", kVector);
  const ValueId product = multiply(graph, x, w, "product");
  ValueId loss = reduce_sum(graph, product, {0, 1}, false, "loss");
  ValueId gradient = reduce_sum(graph, x, {0}, false, "gradient");
  if (synchronized) gradient = microbatch_sum(graph, gradient, "all");
  graph.output("loss", loss);
  graph.output("gradient/w", gradient);
  return graph;
}

struct Fixture {
  std::vector<Bucket> buckets = make_buckets({{.name = "w", .shape = {2}, .initializer = {}}}, {}, 1);
  std::shared_ptr<const Optimizer> optimizer = Optimizer::make({.kind = "sgd"});
  bool runs_ahead = false;

  Graph run(std::int64_t samples, std::int64_t microbatches, int rank, int world, bool synchronized = false) const {
    std::map<std::int64_t, Graph> graphs;
    const Microbatches cut(samples, microbatches);
    for (std::int64_t m = 0; m < cut.count; ++m) {
      graphs.emplace(cut.samples_of(m).size(), microbatch(cut.samples_of(m).size(), synchronized));
    }
    return distribute(graphs, buckets, *optimizer,
                      {.samples = samples,
                       .microbatches = microbatches,
                       .rank = rank,
                       .world_size = world,
                       .nodes = std::vector<int>(static_cast<std::size_t>(world), 0),
                       .runs_ahead = runs_ahead});
  }
};

std::vector<std::string> names_of(const Graph& graph, bool communicating) {
  std::vector<std::string> out;
  for (const Node& node : graph.nodes()) {
    if (node.op->traits().communicates == communicating) out.push_back(node.name);
  }
  return out;
}

std::int64_t count_of(const Graph& graph, std::string_view op) {
  return std::count_if(graph.nodes().begin(), graph.nodes().end(), [op](const Node& node) { return node.op->name() == op; });
}

// Nothing to sum and nobody to talk to: the microbatch's nodes, then norm and update.
TEST(Distribute, OfOneMicrobatchAndOneWorkerAddsTheUpdateOnly) {
  const Graph graph = Fixture().run(3, 1, 0, 1);
  const std::string printed = graph.to_string();
  EXPECT_EQ(printed.substr(0, printed.find("%9")), R"(%0 f32(2) = state "parameters/0"
%1 f32(3, 2) = input "x"
%2 f32() = input "learning_rate"
%3 i64() = input "step"
%4 f32(3, 2) = multiply(%1, %0) "product"
%5 f32() = reduce_sum[axes=0,1](%4) "loss"
%6 f32(2) = reduce_sum[axes=0](%1) "gradient"
%7 f32(2) = pack(%6) "gradient/parameters/0"
%8 f32(1) = view[shape=(1)](%5) "loss"
)");
  EXPECT_TRUE(names_of(graph, true).empty());
  EXPECT_EQ(count_of(graph, "accumulate"), 0);
}

TEST(Distribute, SumsMicrobatchesInATree) {
  const Graph graph = Fixture().run(7, 4, 0, 1);
  EXPECT_TRUE(names_of(graph, true).empty());
  // Three additions for four parts: of the gradient, and of the loss.
  EXPECT_EQ(count_of(graph, "accumulate"), 6);
  EXPECT_EQ(count_of(graph, "reduce_sum"), 8);
}

TEST(Distribute, ExchangesInOneOrderOnAllWorkers) {
  for (const bool synchronized : {false, true}) {
    for (const std::int64_t samples : {2, 7, 8}) {  // 2: the third worker has nothing to do
      const std::vector<std::string> first = names_of(Fixture().run(samples, 4, 0, 3, synchronized), true);
      EXPECT_FALSE(first.empty());
      for (const int rank : {1, 2}) {
        EXPECT_EQ(names_of(Fixture().run(samples, 4, rank, 3, synchronized), true), first) << samples << " samples, rank " << rank;
      }
    }
  }
}

// Which steps are done does not depend on it, but a state says whether one of them was not finite.
TEST(Distribute, RemembersAStepThatWasNotFiniteWhereTheDeviceRunsAhead) {
  for (const int world : {1, 3}) {
    Fixture fixture;
    EXPECT_EQ(fixture.run(6, 3, 0, world).find_state("halted"), kNoValue);
    fixture.runs_ahead = true;
    const Graph graph = fixture.run(6, 3, 0, world);
    graph.verify();
    const ValueId halted = graph.find_state("halted");
    ASSERT_NE(halted, kNoValue);
    EXPECT_EQ(graph.type(halted), (TensorType{DType::kF32, {}}));
    const auto halt = std::ranges::find_if(graph.nodes(), [](const Node& node) { return node.op->name() == "sticky_gradient_scale"; });
    ASSERT_NE(halt, graph.nodes().end());
    EXPECT_EQ(halt->inputs[0], halted);
    for (const Node& node : graph.nodes()) {
      if (node.op->name() != "sgd_update") continue;
      EXPECT_EQ(node.inputs.back(), halt->outputs[1]) << node.name;
    }
  }
}

// The sum over all microbatches stands between what is before and after it in each of them.
TEST(Distribute, AdvancesMicrobatchesSideBySideToASum) {
  const Graph graph = Fixture().run(4, 2, 0, 1, true);
  EXPECT_EQ(count_of(graph, "microbatch_sum"), 0);
  std::vector<std::string> order;
  for (const Node& node : graph.nodes()) {
    for (const char* const part : {"m0/gradient", "m1/gradient", "all/add"}) {
      if (node.name == part) order.push_back(part);
    }
  }
  ASSERT_GE(order.size(), 3u);
  EXPECT_EQ(order[0], "m0/gradient");
  EXPECT_EQ(order[1], "m1/gradient");
  EXPECT_EQ(order[2], "all/add");
}

}  // namespace
}  // namespace lockstep
