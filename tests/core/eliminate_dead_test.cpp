#include "core/passes/eliminate_dead.h"

#include <gtest/gtest.h>

#include "tests/core/pass_values.h"
#include "tests/core/random_graph.h"
#include "tests/core/toy_ops.h"

namespace lockstep {
namespace {

using namespace lockstep::testing;

TEST(EliminateDead, RemovesNodesThatLeadNowhere) {
  Graph graph;
  const ValueId x = graph.input("x", f32({4}));
  graph.input("unused", f32({4}));
  const ValueId dead = toy_scale(graph, x, 2, "dead");
  const ValueId kept = toy_shift(graph, x, 1, "kept");
  toy_add(graph, dead, kept, "dead_too");
  const std::vector<ValueId> parts = toy_split(graph, kept, "half_read");
  graph.output("y", parts[1]);
  const Graph after = eliminate_dead(graph);
  EXPECT_EQ(after.to_string(),
            "%0 f32(4) = input \"x\"\n"
            "%1 f32(4) = input \"unused\"\n"
            "%2 f32(4) = toy_shift[by=1](%0) \"kept\"\n"
            "%3 f32(4), %4 f32(4) = toy_split(%2) \"half_read\"\n"
            "output \"y\" = %4\n");
  expect_equal_values(graph, after);
}

TEST(EliminateDead, KeepsWhatHasAnEffect) {
  Graph graph;
  const ValueId x = graph.input("x", f32({4})), w = graph.state("w", f32({4}));
  toy_update(graph, w, toy_scale(graph, x, 2, "gradient"), kNoValue, "update");
  toy_send(graph, toy_shift(graph, x, 1, "message"), "send");
  toy_scale(graph, x, 3, "dead");
  const Graph after = eliminate_dead(graph);
  EXPECT_EQ(after.to_string(),
            "%0 f32(4) = input \"x\"\n"
            "%1 f32(4) = state \"w\"\n"
            "%2 f32(4) = toy_scale[factor=2](%0) \"gradient\"\n"
            "%3 f32(4) = toy_update(%1, %2) \"update\"\n"
            "%4 f32(4) = toy_shift[by=1](%0) \"message\"\n"
            "%5 f32(4) = toy_send(%4) \"send\"\n");
  expect_equal_values(graph, after);
}

TEST(EliminateDead, LeavesAGraphWithoutDeadNodesAlone) {
  Graph graph;
  const ValueId x = graph.input("x", f32({4}));
  graph.output("y", toy_scale(graph, toy_shift(graph, x, 1), 2));
  EXPECT_EQ(eliminate_dead(graph).to_string(), graph.to_string());
}

TEST(EliminateDead, RandomGraphsKeepTheirValues) {
  std::size_t removed = 0;
  for (std::uint32_t seed = 0; seed < 50; ++seed) {
    const Graph graph = random_graph(seed);
    const Graph after = eliminate_dead(graph);
    expect_equal_values(graph, after);
    EXPECT_EQ(eliminate_dead(after).to_string(), after.to_string());
    removed += graph.nodes().size() - after.nodes().size();
  }
  EXPECT_GT(removed, 200u);
}

}  // namespace
}  // namespace lockstep
