#include "core/passes/autodiff.h"

#include <gtest/gtest.h>

#include "core/base/error.h"
#include "core/device/cpu_device.h"
#include "tests/core/random_graph.h"
#include "tests/core/run_graph.h"
#include "tests/core/toy_ops.h"

namespace lockstep {
namespace {

using namespace lockstep::testing;
using Values = std::vector<double>;

std::map<std::string, Values> values_of(const Graph& graph,
                                        const std::map<std::string, Values>& feeds) {
  graph.verify();
  CpuDevice device;
  return run_graph(graph, toy_registry(), device, feeds);
}

TEST(Autodiff, AddsTheGradientNodesBehindTheOthers) {
  Graph graph;
  const ValueId x = graph.input("x", f32({2})), w = graph.state("w", f32({2}));
  const ValueId y = toy_multiply(graph, x, w, "y");
  const ValueId z = toy_scale(graph, y, 3, "z");
  const ValueId dz = graph.input("dz", f32({2}));
  const auto gradients = differentiate(graph, {{z}}, {{dz}}, {{w, x}});
  EXPECT_EQ(gradients, (std::vector<ValueId>{7, 6}));
  EXPECT_EQ(graph.to_string(),
            "%0 f32(2) = input \"x\"\n"
            "%1 f32(2) = state \"w\"\n"
            "%4 f32(2) = input \"dz\"\n"
            "%2 f32(2) = toy_multiply(%0, %1) \"y\"\n"
            "%3 f32(2) = toy_scale[factor=3](%2) \"z\"\n"
            "%5 f32(2) = toy_scale[factor=3](%4) \"z/gradient\"\n"
            "%6 f32(2) = toy_multiply(%5, %1) \"y/gradient\"\n"
            "%7 f32(2) = toy_multiply(%5, %0) \"y/gradient\"\n");
  graph.output("dw", gradients[0]);
  graph.output("dx", gradients[1]);
  const auto values = values_of(graph, {{"x", {2, 3}}, {"w", {5, 7}}, {"dz", {1, 10}}});
  EXPECT_EQ(values.at("dw"), (Values{6, 90}));
  EXPECT_EQ(values.at("dx"), (Values{15, 210}));
}

TEST(Autodiff, NodesThatNobodyAskedForAreLeftOut) {
  Graph graph;
  const ValueId x = graph.input("x", f32({2})), w = graph.state("w", f32({2}));
  const ValueId before = toy_scale(graph, x, 3, "before");  // no parameter behind it
  const ValueId y = toy_multiply(graph, before, w, "y");
  toy_scale(graph, w, 5, "aside");  // does not lead to y
  const std::size_t nodes = graph.nodes().size();
  const ValueId dy = fill(graph, f32({2}), 1, "dy");
  differentiate(graph, {{y}}, {{dy}}, {{w}});
  ASSERT_EQ(graph.nodes().size(), nodes + 2);
  EXPECT_EQ(graph.nodes().back().name, "y/gradient");
}

TEST(Autodiff, CotangentsOfSeveralReadersAreSummedInTheOrderInWhichTheyArise) {
  Graph graph;
  const ValueId x = graph.input("x", f32({1}));
  const ValueId a = toy_scale(graph, x, 2, "a"), b = toy_scale(graph, x, 3, "b");
  const ValueId c = toy_scale(graph, x, 5, "c");
  const ValueId y = toy_add(graph, toy_add(graph, a, b, "ab"), c, "abc");
  const ValueId dy = graph.input("dy", f32({1}));
  const ValueId dx = differentiate(graph, {{y}}, {{dy}}, {{x}})[0];
  const Node& sum = graph.node(graph.value(dx).producer);
  EXPECT_EQ(sum.op->name(), "accumulate");
  EXPECT_EQ(sum.name, "x/gradient_sum");
  const Node& first = graph.node(graph.value(sum.inputs[0]).producer);  // c, then b, then a
  EXPECT_EQ(first.op->name(), "accumulate");
  EXPECT_EQ(graph.value(first.inputs[0]).name, "c/gradient");
  EXPECT_EQ(graph.value(first.inputs[1]).name, "b/gradient");
  EXPECT_EQ(graph.value(sum.inputs[1]).name, "a/gradient");
  graph.output("dx", dx);
  EXPECT_EQ(values_of(graph, {{"x", {1}}, {"dy", {4}}}).at("dx"), (Values{40}));
}

TEST(Autodiff, AValueReadTwiceByOneNodeReceivesBoth) {
  Graph graph;
  const ValueId x = graph.input("x", f32({2}));
  const ValueId y = toy_multiply(graph, x, x, "square");
  const ValueId dy = graph.input("dy", f32({2}));
  graph.output("dx", differentiate(graph, {{y}}, {{dy}}, {{x}})[0]);
  EXPECT_EQ(values_of(graph, {{"x", {3, 4}}, {"dy", {1, 2}}}).at("dx"), (Values{6, 16}));
}

TEST(Autodiff, SeveralOutputsAddUpAlsoWhereOneIsNamedTwice) {
  Graph graph;
  const ValueId x = graph.input("x", f32({1}));
  const ValueId y = toy_scale(graph, x, 2, "y"), z = toy_scale(graph, y, 3, "z");
  const ValueId d1 = graph.input("d1", f32({1})), d2 = graph.input("d2", f32({1}));
  const ValueId d3 = graph.input("d3", f32({1}));
  graph.output("dx", differentiate(graph, {{y, z, y}}, {{d1, d2, d3}}, {{x}})[0]);
  const auto values = values_of(graph, {{"x", {1}}, {"d1", {1}}, {"d2", {10}}, {"d3", {100}}});
  EXPECT_EQ(values.at("dx"), (Values{2 * (1 + 100) + 6 * 10}));
}

TEST(Autodiff, OfSomeOutputsOfANode) {
  Graph graph;
  const ValueId x = graph.input("x", f32({1}));
  const std::vector<ValueId> parts = toy_split(graph, x, "parts");
  const ValueId y = toy_scale(graph, parts[1], 3, "y");
  const ValueId dy = graph.input("dy", f32({1}));
  graph.output("dx", differentiate(graph, {{y}}, {{dy}}, {{x}})[0]);
  EXPECT_EQ(values_of(graph, {{"x", {1}}, {"dy", {2}}}).at("dx"), (Values{6}));
}

TEST(Autodiff, WithRespectToAResultAndToTheOutputItself) {
  Graph graph;
  const ValueId x = graph.input("x", f32({1}));
  const ValueId y = toy_scale(graph, x, 2, "y"), z = toy_scale(graph, y, 3, "z");
  const ValueId dz = graph.input("dz", f32({1}));
  const auto gradients = differentiate(graph, {{z}}, {{dz}}, {{y, z}});
  EXPECT_EQ(gradients[1], dz);
  graph.output("dy", gradients[0]);
  EXPECT_EQ(values_of(graph, {{"x", {1}}, {"dz", {5}}}).at("dy"), (Values{15}));
}

TEST(Autodiff, NothingDependsOnTheValue) {
  Graph graph;
  const ValueId x = graph.input("x", f32({2})), w = graph.state("w", f32({2}));
  const ValueId labels = graph.input("labels", {DType::kI32, {2}, nullptr});
  const ValueId y = toy_add(graph, toy_scale(graph, x, 2), cast(graph, labels, DType::kF32));
  toy_scale(graph, w, 2, "aside");
  const ValueId smooth = toy_smooth(graph, x, 0, "no_gradient");
  const ValueId sum = toy_add(graph, y, smooth);
  const std::string before = graph.to_string();
  EXPECT_EQ(differentiate(graph, {{sum}}, {{y}}, {{w}})[0], kNoValue);
  EXPECT_EQ(graph.to_string(), before);  // nothing was added
  EXPECT_TRUE(differentiate(graph, {{sum}}, {{y}}, {}).empty());
  EXPECT_TRUE(differentiate(graph, {}, {}, {}).empty());
  EXPECT_EQ(graph.to_string(), before);
  EXPECT_EQ(differentiate(graph, {{smooth}}, {{y}}, {{x}})[0], kNoValue);  // an op without gradient
}

TEST(Autodiff, CastsBetweenF32AndBf16BringGradientsBack) {
  Graph graph;
  const ValueId x = graph.input("x", f32({2})), w = graph.state("w", f32({2}));
  const ValueId low_w = cast(graph, w, DType::kBF16, "w/bf16");
  const ValueId y = toy_weigh(graph, cast(graph, x, DType::kBF16, "x/bf16"), low_w, "y");
  const ValueId dy = graph.input("dy", bf16({2}));
  const auto gradients = differentiate(graph, {{y}}, {{dy}}, {{x, w, low_w}});
  EXPECT_EQ(graph.type(gradients[0]), f32({2}));
  EXPECT_EQ(graph.type(gradients[1]), f32({2}));
  EXPECT_EQ(gradients[2], gradients[1]);  // f32 although the value is bf16: no cast needed
  graph.output("dx", gradients[0]);
  graph.output("dw", gradients[1]);
  // 257 in bf16 is 256; the product 3 x 1.0078125 needs more than 8 bits and keeps them in dw.
  const auto values = values_of(graph, {{"x", {1.0078125, 2}}, {"w", {257, 1}}, {"dy", {3, 4}}});
  EXPECT_EQ(values.at("dw"), (Values{3 * 1.0078125, 8}));
  EXPECT_EQ(values.at("dx"), (Values{768, 4}));
}

TEST(Autodiff, WideAndNarrowCotangentsSumInF32) {
  Graph graph;
  const ValueId x = graph.input("x", bf16({1})), w = graph.input("w", bf16({1}));
  const ValueId wide = toy_weigh(graph, x, w, "wide");      // gives w an f32 cotangent
  const ValueId narrow = toy_scale(graph, w, 2, "narrow");  // gives w a bf16 cotangent
  const ValueId both = toy_add(graph, wide, narrow, "both");
  const ValueId dy = graph.input("dy", bf16({1}));
  const ValueId dw = differentiate(graph, {{both}}, {{dy}}, {{w}})[0];
  EXPECT_EQ(graph.type(dw), f32({1}));
  graph.output("dw", dw);
  // 256 + 2 * 0.5 = 257 has no bf16.
  EXPECT_EQ(values_of(graph, {{"x", {512}}, {"w", {1}}, {"dy", {0.5}}}).at("dw"), (Values{257}));
}

TEST(Autodiff, AWideCotangentIsNarrowedOnceForAnOp) {
  Graph graph;
  const ValueId x = graph.input("x", bf16({1})), v = graph.input("v", bf16({1}));
  const ValueId sum = toy_add(graph, v, v, "sum");
  const ValueId y = toy_weigh(graph, x, sum, "y");  // hands `sum` an f32 cotangent
  const ValueId dy = graph.input("dy", bf16({1}));
  differentiate(graph, {{y}}, {{dy}}, {{v}});
  int casts = 0;
  for (const Node& node : graph.nodes()) {
    casts += node.op->name() == "cast" && node.name == "sum/gradient";
  }
  EXPECT_EQ(casts, 1);
}

TEST(Autodiff, CotangentsThatDoNotFitAreRefused) {
  Graph graph;
  const ValueId x = graph.input("x", f32({2})), wrong = graph.input("wrong", f32({3}));
  const ValueId y = toy_scale(graph, x, 2, "y");
  const auto refused = [&](const std::vector<ValueId>& cotangents) -> std::string {
    try {
      differentiate(graph, {{y}}, cotangents, {{x}});
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  };
  EXPECT_EQ(refused({wrong}), "differentiate: the cotangent of y is f32(3), the value f32(2)");
  EXPECT_EQ(refused({}), "differentiate: 1 outputs and 0 cotangents");
}

// An op whose gradient has the wrong shape.
class WrongOp final : public Op {
 public:
  std::string_view name() const override { return "wrong"; }
  std::vector<TensorType> infer(std::span<const TensorType> inputs) const override {
    return {{inputs[0].dtype, {1}, nullptr}};
  }
  void gradient(Backward& backward) const override {
    backward.accumulate(0, backward.cotangent(0));
  }
};

TEST(Autodiff, AGradientOfTheWrongTypeNamesTheNode) {
  Graph graph;
  const ValueId x = graph.input("x", f32({2}));
  const ValueId y = graph.add(std::make_shared<WrongOp>(), {x}, "fc");
  const ValueId dy = graph.input("dy", f32({1}));
  try {
    differentiate(graph, {{y}}, {{dy}}, {{x}});
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "fc: the gradient of input 0 is f32(1), the input f32(2)");
  }
}

// Central differences of a random chain of products, sums and reshapes.
TEST(Autodiff, AgreesWithDifferences) {
  for (std::uint32_t seed = 1; seed <= 20; ++seed) {
    std::uint32_t state = seed * 2654435761u;
    const auto draw = [&](std::uint32_t bound) {
      state = state * 1664525u + 1013904223u;
      return (state >> 16) % bound;
    };
    Graph graph;
    std::vector<ValueId> values{graph.input("x", f32({2, 2})), graph.state("w", f32({2, 2}))};
    for (int i = 0; i < 12; ++i) {
      const ValueId a = values[draw(values.size())], b = values[draw(values.size())];
      switch (draw(4)) {
        case 0:
          values.push_back(toy_scale(graph, toy_multiply(graph, a, b), 0.5));
          break;
        case 1:
          values.push_back(toy_add(graph, a, b));
          break;
        case 2:
          values.push_back(toy_split(graph, a)[draw(2)]);
          break;
        default:
          values.push_back(view(graph, toy_shift(graph, view(graph, a, {4}), 0.5), {2, 2}));
          break;
      }
    }
    const ValueId loss = toy_mean(graph, toy_add(graph, values.back(), values[1]));
    graph.output("loss", loss);
    const ValueId one = fill(graph, f32({}), 1);
    graph.output("dw", differentiate(graph, {{loss}}, {{one}}, {{values[1]}})[0]);
    auto feeds = random_feeds(graph, seed);
    for (auto& [name, numbers] : feeds) {
      for (double& number : numbers) number *= 0.5;
    }
    const Values dw = values_of(graph, feeds).at("dw");
    for (std::size_t i = 0; i < 4; ++i) {
      const double h = 1.0 / 64;
      auto up = feeds, down = feeds;
      up["w"][i] += h;
      down["w"][i] -= h;
      const double difference =
          (values_of(graph, up).at("loss")[0] - values_of(graph, down).at("loss")[0]) / (2 * h);
      EXPECT_NEAR(dw[i], difference, 2e-2 * std::max(1.0, std::abs(difference))) << seed;
    }
  }
}

}  // namespace
}  // namespace lockstep
