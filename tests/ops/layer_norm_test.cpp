#include "ops/layer_norm/layer_norm.h"

#include <gtest/gtest.h>

#include <cmath>

#include "core/base/error.h"
#include "core/passes/autodiff.h"
#include "tests/core/run_graph.h"
#include "tests/ops/layer_norm_reference.h"
#include "tests/ops/op_test.h"
#include "tests/test_device.h"

namespace lockstep::testing {
namespace {

OpCase norm_case(const Shape& shape, int axes, double epsilon = 0.1) {
  const Shape features = shape.slice(shape.rank() - axes, shape.rank());
  OpCase c{.name = text("layer_norm", shape, " over ", axes),
           .op = std::make_shared<LayerNormOp>(epsilon),
           .inputs = {{DType::kF32, shape}, {DType::kF32, features}, {DType::kF32, features}},
           .reduction_length = static_cast<double>(features.elements()),
           .keeps_f32 = {1, 2}};
  c.reference = [=](const Tensors& in) {
    const std::size_t n = in[1].size(), rows = in[0].size() / n;
    Tensors out{in[0]};
    for (std::size_t row = 0; row < rows; ++row) {
      const double* x = in[0].data() + row * n;
      double mean = 0, variance = 0;
      for (std::size_t j = 0; j < n; ++j) mean += x[j] / static_cast<double>(n);
      for (std::size_t j = 0; j < n; ++j) variance += std::pow(x[j] - mean, 2);
      variance /= static_cast<double>(n);
      for (std::size_t j = 0; j < n; ++j) {
        out[0][row * n + j] = (x[j] - mean) / std::sqrt(variance + epsilon) * in[1][j] + in[2][j];
      }
    }
    return out;
  };
  return c;
}

TEST(LayerNorm, AgreesWithTheNaiveLoop) {
  for (const Shape& shape : {Shape{1, 2}, Shape{7, 3}, Shape{1, 33}, Shape{5, 40}, Shape{2, 3, 9},
                             Shape{70, 8}, Shape{2, 1, 2, 17}}) {
    check_op(norm_case(shape, 1));
  }
  check_op(norm_case({3, 4, 5}, 2));
  check_op(norm_case({2, 2, 3, 4}, 3));
}

TEST(LayerNorm, AgreesWithTheNaiveLoopOnLongRows) {
  for (const Shape& shape : {Shape{3, 5000}, Shape{300, 130}, Shape{0, 4}}) {
    OpCase c = norm_case(shape, 1);
    c.gradient = false;  // central differences would take minutes; see the threads below
    check_op(c);
  }
}

// One feature: the variance is 0, and y the offset.
TEST(LayerNorm, OfOneFeatureIsTheOffset) {
  OpCase c = norm_case({4, 1}, 1);
  c.gradient = false;
  check_op(c);
}

// x, dy -> y and gradients.
Graph training_graph(const Shape& shape, DType dtype = DType::kF32) {
  Graph graph;
  const ValueId x = graph.input("x", {dtype, shape});
  const ValueId scale = graph.input("scale", {DType::kF32, {shape[-1]}});
  const ValueId offset = graph.input("offset", {DType::kF32, {shape[-1]}});
  const ValueId dy = graph.input("dy", {dtype, shape});
  const ValueId y = layer_norm(graph, x, scale, offset, 1e-3);
  graph.output("y", y);
  const auto gradients =
      differentiate(graph, std::vector{y}, std::vector{dy}, std::vector{x, scale, offset});
  graph.output("dx", gradients[0]);
  graph.output("dscale", gradients[1]);
  graph.output("doffset", gradients[2]);
  return graph;
}

void expect_close(const std::map<std::string, std::vector<double>>& found,
                  const std::map<std::string, std::vector<double>>& expected,
                  double tolerance = 2e-6) {
  for (const auto& [name, values] : expected) {
    ASSERT_EQ(found.at(name).size(), values.size());
    for (std::size_t i = 0; i < values.size(); ++i) {
      ASSERT_NEAR(found.at(name)[i], values[i], tolerance * (1 + std::abs(values[i])))
          << name << " " << i;
    }
  }
}

TEST(LayerNorm, AgreesWithPyTorch) {
  using namespace reference;  // NOLINT: the reference's arrays only
  auto list = [](auto& values) {
    return std::vector<double>(std::begin(values), std::end(values));
  };
  const auto found = run_graph(training_graph({4, 5}), test_registry(), test_device(),
                               {{"x", list(kLayerX)},
                                {"scale", list(kLayerScale)},
                                {"offset", list(kLayerOffset)},
                                {"dy", list(kLayerDy)}});
  expect_close(found, {{"y", list(kLayerY)},
                       {"dx", list(kLayerDx)},
                       {"dscale", list(kLayerDscale)},
                       {"doffset", list(kLayerDoffset)}});
}

std::map<std::string, std::vector<double>> waves(const Shape& shape) {
  std::map<std::string, std::vector<double>> feeds{{"x", {}}, {"dy", {}}};
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

TEST(LayerNorm, IsRepeatableAndAgreesOnAllDevicesAndNumbersOfThreads) {
  KernelRegistry of_cpu;
  register_layer_norm_cpu(of_cpu);
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    for (const Shape& shape : {Shape{1500, 100}, Shape{700, 96}, Shape{60, 1000}, Shape{40, 3072}, Shape{5, 601}, Shape{9, 6000},
                               Shape{9, 20'008}, Shape{3, 40'001}}) {
      SCOPED_TRACE(text(name_of(dtype), shape));
      const Graph graph = training_graph(shape, dtype);
      const auto feeds = waves(shape);
      CpuDevice one(1), three(3);
      const auto expected = run_graph(graph, of_cpu, one, feeds);
      const double tolerance = dtype == DType::kF32 ? 2e-5 : 0x1p-6;  // sums of 1500 numbers of both signs
      const auto with_three = run_graph(graph, of_cpu, three, feeds);
      expect_close(with_three, expected, tolerance);
      EXPECT_EQ(run_graph(graph, of_cpu, three, feeds), with_three);
      const auto found = run_graph(graph, test_registry(), test_device(), feeds);
      expect_close(found, expected, tolerance);
      EXPECT_EQ(run_graph(graph, test_registry(), test_device(), feeds), found);
    }
  }
}

TEST(LayerNorm, HasTheSameBitsInUnalignedMemory) {
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    for (const Shape& shape : {Shape{70, 96}, Shape{3, 40'000}}) {
      SCOPED_TRACE(text(name_of(dtype), shape));
      const TensorType data{dtype, shape}, vector{DType::kF32, {shape[-1]}};
      auto feeds = waves(shape);
      OpRun run{{data, vector, vector}, {data}}, back{{data, data, vector}, {data, vector, vector}};
      const LayerNormOp op(1e-3);
      const LayerNormBackwardOp back_op(1e-3);
      const Tensors forward{feeds["x"], feeds["scale"], feeds["offset"]}, backward{feeds["dy"], feeds["x"], feeds["scale"]};
      const Tensors y = run_op(op, run, test_registry(), test_device(), forward);
      const Tensors dx = run_op(back_op, back, test_registry(), test_device(), backward);
      run.offset = back.offset = 4;
      EXPECT_EQ(run_op(op, run, test_registry(), test_device(), forward), y);
      EXPECT_EQ(run_op(back_op, back, test_registry(), test_device(), backward), dx);
    }
  }
}

TEST(LayerNorm, TakesNoRows) {
  const auto found = run_graph(training_graph({0, 3}), test_registry(), test_device(), waves({0, 3}));
  EXPECT_TRUE(found.at("y").empty());
  EXPECT_EQ(found.at("dscale"), (std::vector<double>{0, 0, 0}));
  EXPECT_EQ(found.at("doffset"), (std::vector<double>{0, 0, 0}));
}

TEST(LayerNorm, KeepsItsDigitsFarFromZero) {
  for (const std::int64_t n : {64, 40'000}) {
    std::vector<double> x;
    for (std::int64_t i = 0; i < n; ++i) x.push_back(10'000.0 + static_cast<double>(i % 2));
    const TensorType data{DType::kF32, {1, n}}, vector{DType::kF32, {n}};
    const std::vector<double> ones(n, 1.0);
    const auto y = run_op(LayerNormOp(0.0), {{data, vector, vector}, {data}}, test_registry(), test_device(), {x, ones, ones})[0];
    EXPECT_NEAR(y[0], 0, 1e-2);
    EXPECT_NEAR(y[1], 2, 1e-2);
  }
}

TEST(LayerNorm, ShapesThatAreRefused) {
  auto message = [](const Shape& x_shape, const Shape& scale_shape,
                    const Shape& offset_shape) -> std::string {
    Graph graph;
    try {
      layer_norm(graph, graph.input("x", {DType::kF32, x_shape}),
                 graph.input("s", {DType::kF32, scale_shape}),
                 graph.input("o", {DType::kF32, offset_shape}), 1e-3, "norm");
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  };
  EXPECT_EQ(message({8, 4}, {3}, {3}),
            "norm (layer_norm): scale is f32(3), expected f32(4) for input (8, 4)");
  EXPECT_EQ(message({8, 4}, {4}, {3}),
            "norm (layer_norm): offset is f32(3), the scale f32(4), expected equal types");
  EXPECT_EQ(
      message({8, 4}, {8, 4}, {8, 4}),
      "norm (layer_norm): scale (8, 4) for input (8, 4), expected the extents of its last axes, "
      "but not of all");
  EXPECT_EQ(message({8, 0}, {0}, {0}),
            "norm (layer_norm): input (8, 0) has no elements to take the mean of");
}

}  // namespace
}  // namespace lockstep::testing
