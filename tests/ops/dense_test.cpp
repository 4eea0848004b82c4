#include <gtest/gtest.h>

#include <cmath>

#include "core/base/error.h"
#include "core/passes/autodiff.h"
#include "core/passes/eliminate_dead.h"
#include "ops/bias/bias.h"
#include "ops/register.h"
#include "tests/core/run_graph.h"
#include "tests/ops/dense_cases.h"
#include "tests/test_device.h"

namespace lockstep::testing {
namespace {

TEST(Dense, AgreesWithNaiveLoops) {
  check_ops(dense_cases());
}

TEST(Dense, GradientsOfWeightsAndBias) {
  check_ops(bias_gradient_cases());
}

// Central differences over so many weights take too long: forward here, gradients below.
TEST(Dense, LargeProducts) {
  for (OpCase c : {dense_case({8, 300}, 200, true), dense_case({130, 65}, 64),
                   dense_case({40, 300}, 128, true, Activation{ActivationKind::kRelu}),
                   dense_case({8, 600}, 20, true, Activation{ActivationKind::kSigmoid}),
                   dense_case({40, 64}, 128, true, Activation{ActivationKind::kGeluApproximate}),
                   dense_case({192, 520}, 704, true, Activation{ActivationKind::kRelu})}) {
    c.gradient = false;
    check_op(c);
  }
}

std::vector<double> numbers(std::int64_t count, int seed) {
  std::vector<double> out(count);
  for (std::int64_t i = 0; i < count; ++i) {
    out[i] = static_cast<float>(((i * 7919 + seed * 104729) % 2003) / 1001.5 - 1);
  }
  return out;
}

// Every way in which dx is computed, by the rows: few, some, many; whole and broken squares.
TEST(Dense, GradientsOfLargeWeights) {
  for (const std::int64_t rows : {1, 8, 9, 16, 31, 32, 65}) {
    constexpr std::int64_t kIn = 301, kOut = 130;
    Graph graph;
    const ValueId x = graph.input("x", {DType::kF32, {rows, kIn}});
    const ValueId w = graph.input("w", {DType::kF32, {kIn, kOut}});
    const ValueId dy = graph.input("dy", {DType::kF32, {rows, kOut}});
    const ValueId y = dense(graph, x, w);
    const auto gradients = differentiate(graph, std::vector{y}, std::vector{dy}, std::vector{x, w});
    graph.output("dx", gradients[0]);
    graph.output("dw", gradients[1]);
    const auto xs = numbers(rows * kIn, 1), ws = numbers(kIn * kOut, 2),
               dys = numbers(rows * kOut, 3);
    auto found = run_graph(graph, test_registry(), test_device(), {{"x", xs}, {"w", ws}, {"dy", dys}});
    for (std::int64_t r = 0; r < rows; ++r) {
      for (std::int64_t i = 0; i < kIn; ++i) {
        double expected = 0;
        for (std::int64_t o = 0; o < kOut; ++o) expected += dys[r * kOut + o] * ws[i * kOut + o];
        ASSERT_NEAR(found["dx"][r * kIn + i], expected, 2e-5 + 2e-6 * std::abs(expected))
            << rows << " rows, dx " << r << " " << i;
      }
    }
    for (std::int64_t i = 0; i < kIn; ++i) {
      for (std::int64_t o = 0; o < kOut; ++o) {
        double expected = 0;
        for (std::int64_t r = 0; r < rows; ++r) expected += xs[r * kIn + i] * dys[r * kOut + o];
        ASSERT_NEAR(found["dw"][i * kOut + o], expected, 2e-5 + 2e-6 * std::abs(expected))
            << rows << " rows, dw " << i << " " << o;
      }
    }
  }
}

// Memory that begins on a multiple of 4 bytes only, and the same bits each time.
TEST(Dense, TakesMemoryThatIsNotAligned) {
  constexpr std::int64_t kRows = 40, kIn = 96, kOut = 64;
  const TensorType x{DType::kF32, {kRows, kIn}}, w{DType::kF32, {kIn, kOut}}, y{DType::kF32, {kRows, kOut}};
  const TensorType b{DType::kF32, {kOut}};
  const auto xs = numbers(kRows * kIn, 1), ws = numbers(kIn * kOut, 2), ys = numbers(kRows * kOut, 3), bs = numbers(kOut, 4);
  auto expect_near = [](const Op& op, OpRun run, const Tensors& values) {
    SCOPED_TRACE(op.to_string());
    const Tensors aligned = run_op(op, run, test_registry(), test_device(), values);
    EXPECT_EQ(run_op(op, run, test_registry(), test_device(), values), aligned);
    run.offset = 4;
    const Tensors found = run_op(op, run, test_registry(), test_device(), values);
    EXPECT_EQ(run_op(op, run, test_registry(), test_device(), values), found);
    for (std::size_t j = 0; j < found.size(); ++j) {
      for (std::size_t i = 0; i < found[j].size(); ++i) ASSERT_NEAR(found[j][i], aligned[j][i], 2e-5) << j << " " << i;
    }
  };
  expect_near(DenseOp(Activation{ActivationKind::kRelu}), {{x, w, b}, {y}}, {xs, ws, bs});
  expect_near(DenseBackwardDataOp(), {{y, w}, {x}}, {ys, ws});
  expect_near(DenseBackwardWeightsOp(true), {{x, y}, {w, b}}, {xs, ys});
}

TEST(Dense, WhatDoesNotFitIsRefused) {
  Graph graph;
  const ValueId x = graph.input("x", {DType::kF32, {2, 3}});
  const ValueId w = graph.input("w", {DType::kF32, {4, 5}});
  try {
    dense(graph, x, w, "fc");
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kBadInput);
    EXPECT_STREQ(error.what(),
                 "fc (dense): weight (4, 5) needs 4 input features, input (2, 3) has 3");
  }
  const ValueId fitting = graph.input("x4", {DType::kF32, {2, 4}});
  const ValueId short_bias = graph.input("b", {DType::kF32, {4}});
  EXPECT_THROW(dense(graph, fitting, w, short_bias, {}, "fc"), Error);
  EXPECT_THROW(dense(graph, graph.input("xb", {DType::kBF16, {2, 4}}), w, "fc"), Error);
  EXPECT_THROW(dense(graph, fitting, x, "fc"), Error);
}

// ---- Fusion ------------------------------------------------------------------------------------

struct Training {
  Graph graph;
  std::map<std::string, std::vector<double>> feeds;
};

// x -> dense -> bias -> activation, and all gradients.
Training training(const Activation& function, std::int64_t rows, std::int64_t in,
                  std::int64_t out) {
  Training t;
  Graph& graph = t.graph;
  const ValueId x = graph.input("x", {DType::kF32, {rows, in}});
  const ValueId w = graph.input("w", {DType::kF32, {in, out}});
  const ValueId b = graph.input("b", {DType::kF32, {out}});
  const ValueId dy = graph.input("dy", {DType::kF32, {rows, out}});
  const ValueId y =
      activation(graph, bias(graph, dense(graph, x, w, "fc"), b, "fc/bias"), function, "act");
  const auto gradients =
      differentiate(graph, std::vector{y}, std::vector{dy}, std::vector{x, w, b});
  graph.output("y", y);
  graph.output("dx", gradients[0]);
  graph.output("dw", gradients[1]);
  graph.output("db", gradients[2]);
  t.feeds = {{"x", numbers(rows * in, 1)},
             {"w", numbers(in * out, 2)},
             {"b", numbers(out, 3)},
             {"dy", numbers(rows * out, 4)}};
  return t;
}

int count(const Graph& graph, const std::string& op) {
  int n = 0;
  for (const Node& node : graph.nodes()) n += node.op->name() == op;
  return n;
}

TEST(DenseFusion, BiasAndActivationAreFusedAndValuesStay) {
  for (const Activation function :
       {Activation{ActivationKind::kRelu}, Activation{ActivationKind::kLeakyRelu},
        Activation{ActivationKind::kSigmoid}, Activation{ActivationKind::kTanh}}) {
    for (const auto& [rows, in, out] : {std::array<int, 3>{3, 5, 4}, {9, 30, 80}, {20, 70, 12}}) {
      Training t = training(function, rows, in, out);
      const Graph fused = eliminate_dead(fuse(t.graph, dense_fusions()));
      fused.verify();
      EXPECT_EQ(count(fused, "bias"), 0);
      EXPECT_EQ(count(fused, std::string(function.name())), 0);
      auto expected = run_graph(t.graph, test_registry(), test_device(), t.feeds);
      auto found = run_graph(fused, test_registry(), test_device(), t.feeds);
      for (const std::string name : {"y", "dx", "dw", "db"}) {
        ASSERT_EQ(expected[name].size(), found[name].size());
        for (std::size_t i = 0; i < expected[name].size(); ++i) {
          ASSERT_NEAR(expected[name][i], found[name][i], 2e-5) << function.name() << " " << name;
        }
      }
    }
  }
}

// On GPUs: the gradient of the bias comes out of the product that is the gradient of the weights.
TEST(DenseFusion, GradientsOfWeightsAndBiasAreOneNode) {
  for (const auto& [rows, in, out] : {std::array<int, 3>{3, 5, 4}, {20, 70, 12}}) {
    const Training t = training({ActivationKind::kRelu}, rows, in, out);
    const Graph for_cpu = eliminate_dead(fuse(t.graph, fusion_patterns(DeviceKind::kCpu)));
    EXPECT_EQ(count(for_cpu, "bias_backward"), 1);
    const Graph fused = eliminate_dead(fuse(t.graph, fusion_patterns(DeviceKind::kCuda)));
    fused.verify();
    EXPECT_EQ(count(fused, "bias_backward"), 0);
    EXPECT_EQ(count(fused, "dense_backward_weights"), 1);
    EXPECT_NE(fused.to_string().find("dense_backward_weights[bias=true]"), std::string::npos);
    auto expected = run_graph(t.graph, test_registry(), test_device(), t.feeds);
    auto found = run_graph(fused, test_registry(), test_device(), t.feeds);
    for (const std::string name : {"y", "dx", "dw", "db"}) {
      ASSERT_EQ(expected[name].size(), found[name].size());
      for (std::size_t i = 0; i < expected[name].size(); ++i) ASSERT_NEAR(expected[name][i], found[name][i], 2e-5) << name;
    }
  }
}

TEST(DenseFusion, LeavesAGradientOfABiasAloneThatIsReadBefore) {
  Graph graph;
  const ValueId x = graph.input("x", {DType::kF32, {2, 3}}), dy = graph.input("dy", {DType::kF32, {2, 4}});
  const ValueId other = graph.input("other", {DType::kF32, {2, 4}});
  const ValueId db = bias_backward(graph, dy, "db");
  graph.output("early", relu(graph, db, "early"));
  graph.output("of another", bias_backward(graph, other, "of another"));
  graph.output("dw", graph.add(std::make_shared<DenseBackwardWeightsOp>(), {x, dy}, "dw"));
  EXPECT_EQ(fuse(graph, dense_gradient_fusions()).to_string(), graph.to_string());
}

// A library's relu may make 0 of it, as oneDNN's does: then what went wrong in a layer is seen later than it has to be. A number
// it must not become.
TEST(Dense, AFusedReluKeepsNaNOrGivesZero) {
  const bool keeps = test_device().kind() != DeviceKind::kCpu;
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    for (const std::int64_t out : {10, 64}) {
      const TensorType x{dtype, {5, 48}}, w{dtype, {48, out}}, b{DType::kF32, {out}};
      std::vector<double> values = numbers(5 * 48, 1);
      values[2 * 48 + 7] = std::nan("");
      const DenseOp op(Activation{ActivationKind::kRelu});
      const Tensors y = run_op(op, {{x, w, b}, op.infer(std::vector{x, w, b})}, test_registry(), test_device(),
                               {values, numbers(48 * out, 2), numbers(out, 3)});
      for (std::int64_t i = 0; i < 5 * out; ++i) {
        const double found = y[0][static_cast<std::size_t>(i)];
        const bool is_lost = !keeps && found == 0;
        EXPECT_TRUE(i / out == 2 ? std::isnan(found) || is_lost : std::isfinite(found))
            << name_of(dtype) << ' ' << out << ' ' << i << ": " << found;
      }
    }
  }
}

TEST(DenseFusion, PrintsAsOneNode) {
  Graph graph;
  const ValueId x = graph.input("x", {DType::kF32, {2, 3}});
  const ValueId w = graph.state("w", {DType::kF32, {3, 4}});
  const ValueId b = graph.state("b", {DType::kF32, {4}});
  graph.output("y", relu(graph, bias(graph, dense(graph, x, w, "fc"), b, "fc/bias"), "fc/relu"));
  EXPECT_EQ(eliminate_dead(fuse(graph, dense_fusions())).to_string(),
            "%0 f32(2, 3) = input \"x\"\n"
            "%1 f32(3, 4) = state \"w\"\n"
            "%2 f32(4) = state \"b\"\n"
            "%3 f32(2, 4) = dense[activation=relu](%0, %1, %2) \"fc/relu\"\n"
            "output \"y\" = %3\n");
}

TEST(DenseFusion, GeluIsFusedWhereNobodyReadsItsInputOnly) {
  Graph graph;
  const ValueId x = graph.input("x", {DType::kF32, {20, 30}});
  const ValueId w = graph.input("w", {DType::kF32, {30, 40}});
  graph.output("y", gelu(graph, dense(graph, x, w, "fc"), false, "gelu"));
  const Graph fused = fuse(graph, dense_fusions());
  EXPECT_EQ(count(fused, "gelu"), 0);
  const std::map<std::string, std::vector<double>> feeds = {{"x", numbers(600, 1)},
                                                            {"w", numbers(1200, 2)}};
  const auto expected = run_graph(graph, test_registry(), test_device(), feeds).at("y");
  const auto found = run_graph(fused, test_registry(), test_device(), feeds).at("y");
  for (std::size_t i = 0; i < expected.size(); ++i) ASSERT_NEAR(expected[i], found[i], 1e-5);

  const Training t = training({ActivationKind::kGelu}, 3, 5, 4);
  EXPECT_EQ(count(fuse(t.graph, dense_fusions()), "gelu"), 1) << "its gradient reads the input";
}

TEST(DenseFusion, LeavesAloneWhatIsReadElsewhere) {
  Graph graph;
  const ValueId x = graph.input("x", {DType::kF32, {2, 3}});
  const ValueId w = graph.input("w", {DType::kF32, {3, 4}});
  const ValueId product = dense(graph, x, w, "fc");
  graph.output("product", product);
  graph.output("y", relu(graph, product, "relu"));
  EXPECT_EQ(fuse(graph, dense_fusions()).to_string(), graph.to_string());
}

}  // namespace
}  // namespace lockstep::testing
