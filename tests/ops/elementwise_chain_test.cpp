// Elementwise chains: the fused op gives the bits of the ops one after another, and the pattern
// takes what it may.
#include "ops/elementwise_chain/elementwise_chain.h"

#include <gtest/gtest.h>

#include <cmath>

#include "core/base/random.h"
#include "core/builtin/builtin.h"
#include "core/passes/autodiff.h"
#include "core/passes/eliminate_dead.h"
#include "ops/activation/activation.h"
#include "ops/bias/bias.h"
#include "ops/binary/binary.h"
#include "tests/core/run_graph.h"
#include "tests/test_device.h"

namespace lockstep::testing {
namespace {

Graph fused(const Graph& graph) {
  Graph out = eliminate_dead(fuse(graph, elementwise_chain_fusions()));
  out.verify();
  return out;
}

std::size_t chains(const Graph& graph) {
  std::size_t count = 0;
  for (const Node& node : graph.nodes()) count += node.op->name() == "elementwise_chain";
  return count;
}

std::map<std::string, std::vector<double>> random_feeds(const Graph& graph) {
  const RandomStream random(5, Purpose::kSynthesize);
  std::map<std::string, std::vector<double>> feeds;
  std::uint32_t number = 0;
  for (const Value& value : graph.values()) {
    if (value.kind == ValueKind::kResult) continue;
    std::vector<double>& values = feeds[value.name];
    for (std::int64_t i = 0; i < value.type.elements(); ++i) {
      values.push_back(4.0 * random.uniform(0, number, i) - 2.0);
    }
    ++number;
  }
  return feeds;
}

void expect_equal_bits_on(const Graph& graph, const Graph& with_chains, const KernelRegistry& registry, Device& device,
                          Device& other_device) {
  const auto feeds = random_feeds(graph);
  const auto expected = run_graph(graph, registry, device, feeds);
  for (Device* on : {&device, &other_device}) {
    const auto found = run_graph(with_chains, registry, *on, feeds);
    for (const auto& [name, values] : expected) {
      const auto& other = found.at(name);
      EXPECT_EQ(values.size(), other.size());
      std::size_t differ = 0;
      for (std::size_t i = 0; i < values.size(); ++i) {
        EXPECT_FALSE(std::isnan(values[i])) << name << " " << i;
        differ += values[i] != other[i];
      }
      EXPECT_EQ(differ, 0u) << name << ", of " << values.size();
    }
  }
}

// Runs the graph as it is and fused, on the CPU also with several threads. Returns the fused graph.
Graph expect_equal_bits(const Graph& graph) {
  const Graph with_chains = fused(graph);
  CpuDevice three(3);
  const bool on_cpu = test_device().kind() == DeviceKind::kCpu;
  Device& other = on_cpu ? static_cast<Device&>(three) : test_device();
  expect_equal_bits_on(graph, with_chains, test_registry(), test_device(), other);
  return with_chains;
}

const std::vector<Activation>& activations() {
  static const std::vector<Activation> list = {
      {ActivationKind::kRelu},    {ActivationKind::kLeakyRelu, 0.125},
      {ActivationKind::kSigmoid}, {ActivationKind::kTanh},
      {ActivationKind::kGelu},    {ActivationKind::kGeluApproximate}};
  return list;
}

const std::vector<Shape>& shapes() {
  static const std::vector<Shape> list = {{1},      {1, 1},    {3, 5},   {2, 3, 7}, {511},
                                          {2, 513}, {103, 10}, {5, 700}, {64, 512}, {3, 40000}};
  return list;
}

TEST(ElementwiseChain, HasTheBitsOfItsMembers) {
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    for (const Shape& shape : shapes()) {
      SCOPED_TRACE(text(name_of(dtype), shape));
      Graph graph;
      const ValueId x = graph.input("x", {dtype, shape});
      ValueId y = x;
      for (const Activation& f : activations()) y = activation(graph, add(graph, y, x), f);
      graph.output("y", scale(graph, y, 0.3));
      const Graph result = expect_equal_bits(graph);
      EXPECT_EQ(chains(result), 1u);
      EXPECT_EQ(result.nodes().size(), 1u);
    }
  }
}

TEST(ElementwiseChain, TakesNumbersAndVectorsAsOperands) {
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    for (const Shape& shape : shapes()) {
      SCOPED_TRACE(text(name_of(dtype), shape));
      Graph graph;
      const ValueId x = graph.input("x", {dtype, shape});
      const ValueId vector = graph.input("vector", {dtype, {shape[-1]}});
      const ValueId number = graph.input("number", {dtype, {}});
      const ValueId b = graph.input("b", {DType::kF32, {shape[-1]}});
      ValueId y = bias(graph, x, b);
      y = subtract(graph, vector, y);
      y = multiply(graph, y, number);
      y = tanh(graph, divide(graph, y, graph.input("other", {dtype, shape})));
      graph.output("y", y);
      const Graph result = expect_equal_bits(graph);
      EXPECT_EQ(chains(result), 1u);
      EXPECT_EQ(result.nodes().size(), 1u);
    }
  }
}

TEST(ElementwiseChain, TakesGradientsAccumulationAndCasts) {
  for (const Shape& shape : shapes()) {
    for (const Activation& f : activations()) {
      Graph graph;
      const ValueId dy = graph.input("dy", {DType::kF32, shape});
      const ValueId more = graph.input("more", {DType::kBF16, shape});
      const ValueId saved = graph.input("saved", {DType::kBF16, shape});
      const ValueId sum = accumulate(graph, cast(graph, dy, DType::kBF16), more);
      const ValueId dx = graph.add(std::make_shared<ActivationBackwardOp>(f), {sum, saved});
      graph.output("dx", cast(graph, dx, DType::kF32));
      EXPECT_EQ(expect_equal_bits(graph).nodes().size(), 1u);
    }
  }
}

TEST(ElementwiseChain, FusesWhatTrainingMakes) {
  Graph graph;
  const ValueId a = graph.input("a", {DType::kF32, {4, 6}});
  const ValueId b = graph.input("b", {DType::kF32, {4, 6}});
  const ValueId y = relu(graph, add(graph, a, b, "sum"), "relu");
  graph.output("y", y);
  const ValueId z = divide(graph, tanh(graph, y), b);
  const ValueId dz = graph.input("dz", {DType::kF32, {4, 6}});
  const auto gradients = differentiate(graph, std::vector{z}, std::vector{dz}, std::vector{a, b});
  graph.output("da", gradients[0]);
  graph.output("db", gradients[1]);
  EXPECT_GE(chains(expect_equal_bits(graph)), 3u);
}

TEST(ElementwiseChain, PrintsItsSteps) {
  Graph graph;
  const ValueId a = graph.input("a", {DType::kF32, {4, 6}});
  const ValueId b = graph.input("b", {DType::kF32, {6}});
  graph.output("y", relu(graph, add(graph, b, a, "sum"), "y"));
  EXPECT_EQ(fused(graph).to_string(),
            "%0 f32(4, 6) = input \"a\"\n"
            "%1 f32(6) = input \"b\"\n"
            "%2 f32(4, 6) = elementwise_chain[t0=add(x1, x0) t1=relu(t0)](%0, %1) \"y\"\n"
            "output \"y\" = %2\n");
}

TEST(ElementwiseChain, LeavesAloneWhatIsReadElsewhere) {
  const TensorType type{DType::kF32, {4, 6}};
  Graph single;
  single.output("y", relu(single, single.input("a", type)));
  EXPECT_EQ(fused(single).to_string(), single.to_string());

  Graph read;  // the sum is an output too
  const ValueId sum = add(read, read.input("a", type), read.input("b", type));
  read.output("sum", sum);
  read.output("y", relu(read, sum));
  EXPECT_EQ(fused(read).to_string(), read.to_string());

  Graph repeated;  // the small result grows afterwards
  const ValueId full = repeated.input("a", type);
  const ValueId row = relu(repeated, repeated.input("row", {DType::kF32, {6}}));
  repeated.output("y", add(repeated, full, row));
  EXPECT_EQ(fused(repeated).to_string(), repeated.to_string());

  Graph empty;
  const ValueId nothing = empty.input("a", {DType::kF32, {0, 6}});
  empty.output("y", relu(empty, add(empty, nothing, nothing)));
  EXPECT_EQ(fused(empty).to_string(), empty.to_string());

  Graph column;  // neither full, nor a number, nor along the last axis
  const ValueId c = column.input("c", {DType::kF32, {4, 1}});
  column.output("y", relu(column, add(column, column.input("a", type), c)));
  EXPECT_EQ(fused(column).to_string(), column.to_string());
}

TEST(ElementwiseChain, LongChainsBecomeSeveral) {
  Graph graph;
  ValueId y = graph.input("x", {DType::kF32, {33}});
  for (int i = 0; i < 50; ++i) y = scale(graph, y, i % 2 == 0 ? 1.25 : 0.8);
  graph.output("y", y);
  const Graph result = expect_equal_bits(graph);
  EXPECT_EQ(result.nodes().size(), 4u);
}

TEST(ElementwiseChain, TraitsFollowFromTheMembers) {
  const TensorType type{DType::kF32, {4, 6}};
  auto traits = [&](const auto& build) {
    Graph graph;
    graph.output("y", build(graph, graph.input("x", type)));
    const Graph result = fused(graph);
    EXPECT_EQ(chains(result), 1u);
    return result.node(0).op->traits();
  };
  const Traits plain = traits([](Graph& g, ValueId x) { return relu(g, add(g, x, x)); });
  EXPECT_TRUE(plain.elementwise && plain.keeps_zero);
  EXPECT_EQ(plain.may_overwrite, 0);
  const Traits sigmoids = traits([](Graph& g, ValueId x) { return sigmoid(g, add(g, x, x)); });
  EXPECT_TRUE(sigmoids.elementwise && !sigmoids.keeps_zero);
  const Traits repeated = traits([](Graph& g, ValueId x) {
    return relu(g, add(g, x, g.input("b", {DType::kF32, {6}})));
  });
  EXPECT_FALSE(repeated.elementwise || repeated.keeps_zero);
  EXPECT_EQ(repeated.may_overwrite, 0);
  const Traits casts =
      traits([](Graph& g, ValueId x) { return relu(g, cast(g, x, DType::kBF16)); });
  EXPECT_EQ(casts.may_overwrite, -1);
}

// The chains that trainings are full of: residual blocks, their gradients, bias and activation.
TEST(ElementwiseChain, TakesWhatResidualNetworksMake) {
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    for (const Shape& shape : shapes()) {
      for (const Activation& f : activations()) {
        SCOPED_TRACE(text(name_of(dtype), shape, f.name()));
        auto expect_one_chain = [&](const auto& build) {
          Graph graph;
          const ValueId a = graph.input("a", {dtype, shape}), b = graph.input("b", {dtype, shape});
          const ValueId saved = graph.input("saved", {dtype, shape});
          graph.output("y", build(graph, a, b, saved));
          EXPECT_EQ(expect_equal_bits(graph).nodes().size(), 1u);
        };
        const auto backward = std::make_shared<ActivationBackwardOp>(f);
        expect_one_chain([&](Graph& g, ValueId a, ValueId b, ValueId) { return activation(g, add(g, a, b), f); });
        expect_one_chain([&](Graph& g, ValueId a, ValueId, ValueId) { return activation(g, add(g, a, a), f); });
        expect_one_chain([&](Graph& g, ValueId a, ValueId b, ValueId saved) {
          return g.add(backward, {accumulate(g, a, b), saved});
        });
        expect_one_chain([&](Graph& g, ValueId, ValueId b, ValueId saved) {
          return g.add(backward, {b, activation(g, saved, f)});
        });
        expect_one_chain([&](Graph& g, ValueId a, ValueId, ValueId) {
          return activation(g, bias(g, a, g.input("bias", {DType::kF32, {shape[-1]}})), f);
        });
        expect_one_chain([&](Graph& g, ValueId a, ValueId, ValueId) {
          return activation(g, add(g, a, g.input("vector", {dtype, {shape[-1]}})), f);
        });
        expect_one_chain([&](Graph& g, ValueId, ValueId, ValueId saved) {
          const ValueId dy = g.input("dy", {DType::kF32, shape});
          return g.add(backward, {dtype == DType::kBF16 ? cast(g, dy, dtype) : scale(g, dy, 0.5), saved});
        });
      }
    }
  }
}

// As many results wait for their reader at once as there can be.
TEST(ElementwiseChain, TakesTreesOfOps) {
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    for (const Shape& shape : {Shape{1}, Shape{5, 700}, Shape{3, 1024}}) {
      Graph graph;
      std::vector<ValueId> level;
      for (int i = 0; i < 8; ++i) {
        const ValueId x = graph.input(text("x", i), {dtype, shape});
        level.push_back(i % 2 == 0 ? tanh(graph, x) : scale(graph, x, 0.7));
      }
      while (level.size() > 1) {
        std::vector<ValueId> next;
        for (std::size_t i = 0; i < level.size(); i += 2) next.push_back(subtract(graph, level[i], level[i + 1]));
        level = next;
      }
      graph.output("y", level[0]);
      EXPECT_EQ(expect_equal_bits(graph).nodes().size(), 1u);
    }
  }
}

// In the memory of the first input, and in memory that is not aligned.
TEST(ElementwiseChain, ComputesInPlaceAndInUnalignedMemory) {
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    const TensorType type{dtype, {7, 300}}, vector{dtype, {300}};
    std::vector<std::vector<double>> values = {{}, std::vector<double>(300, 0.5)};
    for (int i = 0; i < 2100; ++i) values[0].push_back(0.01 * static_cast<double>(i % 211 - 100));
    auto expect_equal = [&](const auto& build) {
      Graph graph;
      const ValueId x = graph.input("x", type), b = graph.input("b", vector);
      graph.output("y", build(graph, x, b));
      const Graph result = fused(graph);
      ASSERT_EQ(result.nodes().size(), 1u);
      const Op& op = *result.node(0).op;
      OpRun run{{type, vector}, {type}};
      const auto alone = run_op(op, run, test_registry(), test_device(), values);
      run.in_place = true;
      EXPECT_EQ(run_op(op, run, test_registry(), test_device(), values), alone);
      run.offset = 4;
      EXPECT_EQ(run_op(op, run, test_registry(), test_device(), values), alone);
    };
    expect_equal([](Graph& g, ValueId x, ValueId b) { return multiply(g, tanh(g, add(g, x, b)), x); });
    expect_equal([](Graph& g, ValueId x, ValueId b) { return relu(g, add(g, x, b)); });
  }
}

}  // namespace
}  // namespace lockstep::testing
