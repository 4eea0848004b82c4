#include "ops/batch_norm/batch_norm.h"

#include <gtest/gtest.h>

#include <cmath>

#include "core/base/error.h"
#include "core/passes/autodiff.h"
#include "core/passes/eliminate_dead.h"
#include "core/passes/fuse.h"
#include "ops/activation/activation.h"
#include "tests/core/run_graph.h"
#include "tests/ops/batch_norm_reference.h"
#include "tests/ops/op_test.h"
#include "tests/test_device.h"

namespace lockstep::testing {
namespace {

// ---- Against naive loops in double -------------------------------------------------------------

Tensors naive_batch_norm(const Tensors& in, double epsilon, bool relu) {
  const std::size_t channels = in[1].size(), rows = in[0].size() / channels;
  Tensors out{std::vector<double>(in[0].size()), std::vector<double>(channels),
              std::vector<double>(channels)};
  for (std::size_t c = 0; c < channels; ++c) {
    double mean = 0, variance = 0;
    for (std::size_t i = 0; i < rows; ++i) mean += in[0][i * channels + c];
    mean /= static_cast<double>(rows);
    for (std::size_t i = 0; i < rows; ++i) {
      variance += std::pow(in[0][i * channels + c] - mean, 2);
    }
    variance /= static_cast<double>(rows);
    for (std::size_t i = 0; i < rows; ++i) {
      const double y =
          (in[0][i * channels + c] - mean) / std::sqrt(variance + epsilon) * in[1][c] + in[2][c];
      out[0][i * channels + c] = relu && y < 0 ? 0 : y;
    }
    out[1][c] = mean;
    out[2][c] = variance;
  }
  return out;
}

OpCase training_case(const Shape& shape, bool relu = false, double epsilon = 0.1) {
  const Shape channels{shape[-1]};
  return {.name = text("batch_norm", shape, relu ? " relu" : ""),
          .op = std::make_shared<BatchNormOp>(epsilon, relu),
          .inputs = {{DType::kF32, shape}, {DType::kF32, channels}, {DType::kF32, channels}},
          .reference = [=](const Tensors& in) { return naive_batch_norm(in, epsilon, relu); },
          .reduction_length = static_cast<double>(shape.elements() / shape[-1]),
          .keeps_f32 = {1, 2}};
}

TEST(BatchNorm, AgreesWithTheNaiveLoop) {
  for (const Shape& shape : {Shape{2, 1}, Shape{7, 3}, Shape{16, 8}, Shape{5, 33}, Shape{3, 130},
                             Shape{2, 3, 5, 4}, Shape{1, 4, 4, 17}, Shape{3, 2, 2, 2}}) {
    check_op(training_case(shape));
  }
}

TEST(BatchNorm, AgreesWithTheNaiveLoopOverManyBlocks) {
  for (const Shape& shape :
       {Shape{1000, 3}, Shape{700, 40}, Shape{4, 20, 20, 64}, Shape{70, 300}, Shape{20, 2100}}) {
    OpCase c = training_case(shape);
    c.gradient = false;  // central differences would take minutes; see the threads below
    check_op(c);
    c = training_case(shape, true);
    c.gradient = false;
    check_op(c);
  }
}

// With relu the kinks of the naive loop must be kept off: offsets far from where a channel lies.
TEST(BatchNorm, WithReluAgreesWithTheNaiveLoop) {
  for (const Shape& shape : {Shape{6, 3}, Shape{2, 2, 3, 9}, Shape{5, 40}}) {
    OpCase c = training_case(shape, true);
    c.difference_step = 1e-5;
    check_op(c);
  }
}

// One row: the variance is 0, y the offset, and nothing flows back to x but for the mean.
TEST(BatchNorm, OfOneRowIsTheOffset) {
  OpCase c = training_case({1, 5});
  c.gradient = false;
  check_op(c);
}

TEST(BatchNorm, KeepsItsDigitsFarFromZero) {
  Graph graph;
  const ValueId x = graph.input("x", {DType::kF32, {4096, 2}});
  const ValueId scale = graph.input("scale", {DType::kF32, {2}});
  const auto norm = batch_norm(graph, x, scale, scale, 0.0);
  graph.output("y", norm.y);
  graph.output("variance", norm.variance);
  std::vector<double> values;
  for (int i = 0; i < 4096; ++i) {
    values.push_back(10'000 + i % 2);  // deviation 0.5
    values.push_back(-3000 - 0.25 * (i % 2));
  }
  const auto found = run_graph(graph, test_registry(), test_device(), {{"x", values}, {"scale", {1, 1}}});
  EXPECT_NEAR(found.at("variance")[0], 0.25, 1e-5);
  EXPECT_NEAR(found.at("variance")[1], 0.015625, 1e-6);
  EXPECT_NEAR(found.at("y")[0], 0, 2e-3);
  EXPECT_NEAR(found.at("y")[2], 2, 2e-3);
}

TEST(BatchNormInference, AgreesWithTheNaiveLoop) {
  for (const bool relu : {false, true}) {
    for (const Shape& shape : {Shape{1, 1}, Shape{7, 3}, Shape{0, 4}, Shape{2, 3, 5, 20}}) {
      const Shape channels{shape[-1]};
      OpCase c{.name = text("batch_norm_inference", shape),
               .op = std::make_shared<BatchNormInferenceOp>(1e-3, relu),
               .inputs = {{DType::kF32, shape},
                          {DType::kF32, channels},
                          {DType::kF32, channels},
                          {DType::kF32, channels},
                          {DType::kF32, channels}},
               .reference =
                   [=](const Tensors& in) {
                     Tensors out{in[0]};
                     const std::size_t n = in[1].size();
                     for (std::size_t i = 0; i < out[0].size(); ++i) {
                       const double y = (in[0][i] - in[3][i % n]) / std::sqrt(in[4][i % n] + 1e-3) *
                                            in[1][i % n] +
                                        in[2][i % n];
                       out[0][i] = relu && y < 0 ? 0 : y;
                     }
                     return out;
                   },
               .low = 0.1,
               .reduction_length = static_cast<double>(shape.elements() / shape[-1]),
               .keeps_f32 = {1, 2, 3, 4},
               .gradient = shape[0] > 0};
      if (relu) c.difference_step = 1e-6;  // off the kinks
      check_op(c);
    }
  }
}

TEST(BatchMoments, AgreeWithTheNaiveLoop) {
  for (const Shape& shape : {Shape{1, 1}, Shape{7, 3}, Shape{16, 8}, Shape{5, 33}, Shape{2, 3, 5, 20}, Shape{3, 130}}) {
    check_op({.name = text("batch_moments", shape),
              .op = std::make_shared<BatchMomentsOp>(),
              .inputs = {{DType::kF32, shape}},
              .reference =
                  [=](const Tensors& in) {
                    const std::vector<double> ones(static_cast<std::size_t>(shape[-1]), 1.0);
                    const Tensors all = naive_batch_norm({in[0], ones, ones}, 0.1, false);
                    return Tensors{all[1], all[2]};
                  },
              .reduction_length = static_cast<double>(shape.elements() / shape[-1]),
              .keeps_f32 = {}});
  }
}

// Of a graph of one microbatch the synchronized form is the plain one.
TEST(SynchronizedBatchNorm, OfOneMicrobatchIsBatchNorm) {
  const auto build = [](bool synchronized) {
    Graph graph;
    const ValueId x = graph.input("x", {DType::kF32, {4, 3, 3, 5}});
    const ValueId scale = graph.input("scale", {DType::kF32, {5}}), offset = graph.input("offset", {DType::kF32, {5}});
    const ValueId dy = graph.input("dy", {DType::kF32, {4, 3, 3, 5}});
    const BatchNormResult norm = synchronized ? synchronized_batch_norm(graph, x, scale, offset, 1e-3, "norm")
                                              : batch_norm(graph, x, scale, offset, 1e-3, "norm");
    graph.output("y", norm.y);
    graph.output("mean", norm.mean);
    graph.output("variance", norm.variance);
    const auto gradients =
        differentiate(graph, std::vector{norm.y}, std::vector{dy}, std::vector{x, scale, offset});
    const char* names[] = {"dx", "dscale", "doffset"};
    for (int i = 0; i < 3; ++i) graph.output(names[i], gradients[i]);
    return graph;
  };
  std::vector<double> x, dy;
  for (int i = 0; i < 180; ++i) {
    x.push_back(i * 37 % 23 * 0.1);
    dy.push_back(i * 29 % 17 * 0.1 - 0.8);
  }
  const std::map<std::string, std::vector<double>> inputs = {
      {"x", x}, {"dy", dy}, {"scale", {1, 2, -1, 0.5, 3}}, {"offset", {0, 1, 0, -1, 2}}};
  const auto plain = run_graph(build(false), test_registry(), test_device(), inputs);
  const auto together = run_graph(build(true), test_registry(), test_device(), inputs);
  for (const auto& [name, values] : plain) {
    for (std::size_t i = 0; i < values.size(); ++i) EXPECT_NEAR(together.at(name)[i], values[i], 2e-5) << name << " " << i;
  }
}

// ---- Against PyTorch ---------------------------------------------------------------------------

TEST(BatchNorm, AgreesWithPyTorch) {
  using namespace reference;  // NOLINT: the reference's arrays only
  Graph graph;
  const ValueId x = graph.input("x", {DType::kF32, {2, 3, 2, 3}});
  const ValueId scale = graph.input("scale", {DType::kF32, {3}});
  const ValueId offset = graph.input("offset", {DType::kF32, {3}});
  const ValueId dy = graph.input("dy", {DType::kF32, {2, 3, 2, 3}});
  const ValueId y = batch_norm(graph, x, scale, offset, 1e-3).y;
  graph.output("y", y);
  const auto gradients =
      differentiate(graph, std::vector{y}, std::vector{dy}, std::vector{x, scale, offset});
  const char* names[] = {"dx", "dscale", "doffset"};
  for (int i = 0; i < 3; ++i) graph.output(names[i], gradients[i]);
  auto list = [](auto& values) {
    return std::vector<double>(std::begin(values), std::end(values));
  };
  const auto found = run_graph(graph, test_registry(), test_device(),
                               {{"x", list(kBatchX)},
                                {"scale", list(kBatchScale)},
                                {"offset", list(kBatchOffset)},
                                {"dy", list(kBatchDy)}});
  auto expect_equal = [&](const char* name, const std::vector<double>& expected) {
    ASSERT_EQ(found.at(name).size(), expected.size()) << name;
    for (std::size_t i = 0; i < expected.size(); ++i) {
      EXPECT_NEAR(found.at(name)[i], expected[i], 2e-6) << name << " " << i;
    }
  };
  expect_equal("y", list(kBatchY));
  expect_equal("dx", list(kBatchDx));
  expect_equal("dscale", list(kBatchDscale));
  expect_equal("doffset", list(kBatchDoffset));
}

// ---- Threads -----------------------------------------------------------------------------------

// batch_norm and its gradient over x, with dy a graph input; relu as a node of its own.
Graph training_graph(const Shape& shape, bool relu_node, DType dtype = DType::kF32) {
  Graph graph;
  const ValueId x = graph.input("x", {dtype, shape});
  const ValueId scale = graph.input("scale", {DType::kF32, {shape[-1]}});
  const ValueId offset = graph.input("offset", {DType::kF32, {shape[-1]}});
  const ValueId dy = graph.input("dy", {dtype, shape});
  const BatchNormResult norm = batch_norm(graph, x, scale, offset, 1e-3, "norm");
  const ValueId y = relu_node ? relu(graph, norm.y, "relu") : norm.y;
  graph.output("y", y);
  graph.output("mean", norm.mean);
  graph.output("variance", norm.variance);
  const auto gradients =
      differentiate(graph, std::vector{y}, std::vector{dy}, std::vector{x, scale, offset});
  graph.output("dx", gradients[0]);
  graph.output("dscale", gradients[1]);
  graph.output("doffset", gradients[2]);
  return graph;
}

std::map<std::string, std::vector<double>> waves(const Shape& shape) {
  std::map<std::string, std::vector<double>> feeds;
  for (std::int64_t i = 0; i < shape.elements(); ++i) {
    feeds["x"].push_back(3 * std::sin(0.7 * static_cast<double>(i * i % 1009)));
    feeds["dy"].push_back(std::cos(0.3 * static_cast<double>(i * i % 911)));
  }
  for (std::int64_t c = 0; c < shape[-1]; ++c) {
    feeds["scale"].push_back(0.5 + 0.1 * static_cast<double>(c % 7));
    feeds["offset"].push_back(0.2 * static_cast<double>(c % 5) - 0.3);
  }
  return feeds;
}

void expect_close(const std::map<std::string, std::vector<double>>& found,
                  const std::map<std::string, std::vector<double>>& expected, double tolerance) {
  for (const auto& [name, values] : expected) {
    ASSERT_EQ(found.at(name).size(), values.size());
    for (std::size_t i = 0; i < values.size(); ++i) {
      ASSERT_NEAR(found.at(name)[i], values[i], tolerance * (1 + std::abs(values[i])))
          << name << " " << i;
    }
  }
}

TEST(BatchNorm, IsRepeatableAndAgreesOnAllDevicesAndNumbersOfThreads) {
  KernelRegistry of_cpu;
  register_batch_norm_cpu(of_cpu);
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    for (const Shape& shape : {Shape{16, 20, 20, 33}, Shape{40'001, 3}, Shape{5000, 64}, Shape{2500, 264}, Shape{33, 1000}}) {
      SCOPED_TRACE(text(name_of(dtype), shape));
      const Graph graph = training_graph(shape, false, dtype);
      const auto feeds = waves(shape);
      CpuDevice one(1), three(3);
      const auto expected = run_graph(graph, of_cpu, one, feeds);
      // Sums of 40'000 numbers of both signs.
      const double tolerance = dtype == DType::kF32 ? 2e-5 : 0x1p-6;
      const auto with_three = run_graph(graph, of_cpu, three, feeds);
      expect_close(with_three, expected, tolerance);
      EXPECT_EQ(run_graph(graph, of_cpu, three, feeds), with_three);
      const auto found = run_graph(graph, test_registry(), test_device(), feeds);
      expect_close(found, expected, tolerance);
      EXPECT_EQ(run_graph(graph, test_registry(), test_device(), feeds), found);
    }
  }
}

// In f32 the two ways through relu are one: what it cut off forward has no gradient.
TEST(BatchNorm, WithReluAndGivenStatisticsAgreesWithTheCpu) {
  KernelRegistry of_cpu;
  register_batch_norm_cpu(of_cpu);
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    for (const Shape& shape : {Shape{9000, 8}, Shape{3000, 72}, Shape{60, 33}}) {
      SCOPED_TRACE(text(name_of(dtype), shape));
      const TensorType data{dtype, shape}, vector{DType::kF32, {shape[-1]}};
      auto feeds = waves(shape);
      std::vector<double> mean, variance;
      for (std::int64_t c = 0; c < shape[-1]; ++c) {
        mean.push_back(0.1 * static_cast<double>(c % 3));
        variance.push_back(4 + 0.5 * static_cast<double>(c % 4));
      }
      const Tensors inputs{feeds["dy"], feeds["x"], feeds["scale"], feeds["offset"], mean, variance};
      const std::vector<TensorType> types{data, data, vector, vector, vector, vector};
      const double tolerance = dtype == DType::kF32 ? 2e-5 : 0x1p-6;
      const auto compare = [&](const Op& op, const OpRun& run) {
        CpuDevice cpu;
        const Tensors expected = run_op(op, run, of_cpu, cpu, inputs);
        const Tensors found = run_op(op, run, test_registry(), test_device(), inputs);
        for (std::size_t j = 0; j < expected.size(); ++j) {
          expect_close({{"output", found[j]}}, {{"output", expected[j]}}, tolerance);
        }
      };
      for (const bool relu : {false, true}) {
        compare(BatchNormBackwardOp(1e-3, relu), {types, {data, vector, vector}});
        compare(BatchNormInferenceBackwardOp(1e-3, relu), {types, {data, vector, vector, vector, vector}});
      }
    }
  }
}

TEST(BatchNorm, HasTheSameBitsInUnalignedMemory) {
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    for (const Shape& shape : {Shape{3000, 64}, Shape{100, 24}}) {
      SCOPED_TRACE(text(name_of(dtype), shape));
      const TensorType data{dtype, shape}, vector{DType::kF32, {shape[-1]}};
      auto feeds = waves(shape);
      const Tensors forward{feeds["x"], feeds["scale"], feeds["offset"]};
      const Tensors backward{feeds["dy"], feeds["x"], feeds["scale"], feeds["offset"], feeds["offset"], feeds["scale"]};
      OpRun run{{data, vector, vector}, {data, vector, vector}};
      OpRun back{{data, data, vector, vector, vector, vector}, {data, vector, vector}};
      const BatchNormOp op(1e-3, true);
      const BatchNormBackwardOp back_op(1e-3, true);
      const Tensors y = run_op(op, run, test_registry(), test_device(), forward);
      const Tensors dx = run_op(back_op, back, test_registry(), test_device(), backward);
      run.offset = back.offset = 4;
      EXPECT_EQ(run_op(op, run, test_registry(), test_device(), forward), y);
      EXPECT_EQ(run_op(back_op, back, test_registry(), test_device(), backward), dx);
    }
  }
}

// ---- Fusion with relu --------------------------------------------------------------------------

std::vector<std::string> ops_of(const Graph& graph) {
  std::vector<std::string> names;
  for (const Node& node : graph.nodes()) names.push_back(node.op->to_string());
  return names;
}

TEST(BatchNorm, FusesWithRelu) {
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    const Shape shape{3, 5, 2, 6};
    const Graph plain = training_graph(shape, true, dtype);
    const Graph fused = eliminate_dead(fuse(plain, batch_norm_fusions()));
    fused.verify();
    EXPECT_EQ(ops_of(fused),
              (std::vector<std::string>{"batch_norm[epsilon=0.001 relu=true]",
                                        "batch_norm_backward[epsilon=0.001 relu=true]"}));
    const auto feeds = waves(shape);
      expect_close(run_graph(fused, test_registry(), test_device(), feeds),
                 run_graph(plain, test_registry(), test_device(), feeds), dtype == DType::kF32 ? 1e-6 : 0x1p-6);
  }
}

TEST(BatchNorm, InferenceFusesWithRelu) {
  Graph graph;
  const ValueId x = graph.input("x", {DType::kF32, {4, 3}});
  const ValueId c = graph.input("c", {DType::kF32, {3}});
  graph.output("y", relu(graph, batch_norm_inference(graph, x, c, c, c, c, 1e-3)));
  const Graph fused = eliminate_dead(fuse(graph, batch_norm_fusions()));
  EXPECT_EQ(ops_of(fused),
            (std::vector<std::string>{"batch_norm_inference[epsilon=0.001 relu=true]"}));
  std::map<std::string, std::vector<double>> feeds{{"c", {0.5, 1, 2}}};
  for (int i = 0; i < 12; ++i) feeds["x"].push_back(std::sin(i));
  EXPECT_EQ(run_graph(fused, test_registry(), test_device(), feeds),
            run_graph(graph, test_registry(), test_device(), feeds));
}

TEST(BatchNorm, DoesNotFuseWhereYIsReadElsewhere) {
  Graph graph;
  const ValueId x = graph.input("x", {DType::kF32, {4, 3}});
  const ValueId c = graph.input("c", {DType::kF32, {3}});
  const ValueId y = batch_norm(graph, x, c, c, 1e-3, "norm").y;
  graph.output("relu", relu(graph, y, "relu"));
  graph.output("sigmoid", sigmoid(graph, y, "sigmoid"));
  EXPECT_EQ(fuse(graph, batch_norm_fusions()).to_string(), graph.to_string());
  Graph other;
  const ValueId x2 = other.input("x", {DType::kF32, {4, 3}});
  const ValueId c2 = other.input("c", {DType::kF32, {3}});
  other.output("y", sigmoid(other, batch_norm(other, x2, c2, c2, 1e-3, "norm").y, "sigmoid"));
  EXPECT_EQ(fuse(other, batch_norm_fusions()).to_string(), other.to_string());
}

// ---- What it refuses ---------------------------------------------------------------------------

TEST(BatchNorm, ShapesThatAreRefused) {
  auto message = [](const TensorType& x_type, const TensorType& scale_type) -> std::string {
    Graph graph;
    const ValueId x = graph.input("x", x_type), scale = graph.input("scale", scale_type);
    try {
      batch_norm(graph, x, scale, scale, 1e-3, "norm");
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  };
  const DType f32 = DType::kF32;
  EXPECT_EQ(message({f32, {8, 4}}, {f32, {3}}),
            "norm (batch_norm): scale is f32(3), expected f32(4) for input (8, 4)");
  EXPECT_EQ(message({f32, {8}}, {f32, {8}}),
            "norm (batch_norm): input (8) has fewer than 2 dimensions, expected (batch, ..., "
            "channels)");
  EXPECT_EQ(message({f32, {0, 4}}, {f32, {4}}),
            "norm (batch_norm): input (0, 4) has no elements to take the mean of");
  EXPECT_EQ(message({DType::kI32, {2, 4}}, {f32, {4}}),
            "norm (batch_norm): input is i32(2, 4), expected f32 or bf16");
}

}  // namespace
}  // namespace lockstep::testing
