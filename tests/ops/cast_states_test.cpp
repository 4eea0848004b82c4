#include "core/passes/cast_states.h"

#include <gtest/gtest.h>

#include "core/builtin/builtin.h"
#include "core/passes/eliminate_dead.h"
#include "core/passes/fuse.h"
#include "core/passes/mixed_precision.h"
#include "ops/bias/bias.h"
#include "ops/dense/dense.h"
#include "tests/core/run_graph.h"
#include "tests/test_device.h"

namespace lockstep::testing {
namespace {

// Two products whose parameters are parts of one state; the second bias begins at an odd element.
Graph network(std::int64_t unused) {
  Graph graph;
  const ValueId all = graph.state("parameters/0", {DType::kF32, {16 * 8 + 8 + 8 * 4 + 4 + 1 + unused}, nullptr});
  const ValueId x = graph.input("x", {DType::kF32, {6, 16}, nullptr});
  const ValueId first = view(graph, all, {16, 8}, 0, "first/weight"), first_bias = view(graph, all, {8}, 128, "first/bias");
  const ValueId second = view(graph, all, {8, 4}, 136, "second/weight"), second_bias = view(graph, all, {4}, 169, "second/bias");
  const ValueId h = bias(graph, dense(graph, x, first, "first"), first_bias, "first/sum");
  graph.output("y", bias(graph, dense(graph, h, second, "second"), second_bias, "second/sum"));
  return eliminate_dead(fuse(mixed_precision(graph), dense_fusions()));
}

int count(const Graph& graph, std::string_view op) {
  int out = 0;
  for (const Node& node : graph.nodes()) out += node.op->name() == op;
  return out;
}

TEST(CastStates, OneCastStandsForThoseOfAllParts) {
  const Graph before = network(0), after = eliminate_dead(cast_states(before));
  after.verify();
  EXPECT_EQ(count(before, "cast"), 4);  // x, both weights, y
  EXPECT_EQ(count(after, "cast"), 3);
  std::vector<DType> biases;
  for (const Node& node : after.nodes()) {
    if (node.op->name() == "dense") biases.push_back(after.type(node.inputs.at(2)).dtype);
  }
  EXPECT_EQ(biases, (std::vector{DType::kBF16, DType::kF32}));  // the second is not aligned
  std::vector<double> x, parameters;
  for (int i = 0; i < 96; ++i) x.push_back(i * 37 % 23 * 0.1 - 1);
  for (int i = 0; i < 173; ++i) parameters.push_back(i * 29 % 17 * 0.125 - 1);  // exact in bf16, as the biases have to be here
  const std::map<std::string, std::vector<double>> feeds{{"x", x}, {"parameters/0", parameters}};
  EXPECT_EQ(run_graph(after, test_registry(), test_device(), feeds), run_graph(before, test_registry(), test_device(), feeds));
}

TEST(CastStates, WhatIsMostlyNotCastIsLeftAlone) {
  const Graph sparse = network(200);
  EXPECT_EQ(cast_states(sparse).to_string(), sparse.to_string());
  Graph single;
  const ValueId all = single.state("all", {DType::kF32, {16}, nullptr});
  single.output("y", cast(single, view(single, all, {4, 4}, 0, "part"), DType::kBF16, "low"));
  EXPECT_EQ(cast_states(single).to_string(), single.to_string());
}

}  // namespace
}  // namespace lockstep::testing
