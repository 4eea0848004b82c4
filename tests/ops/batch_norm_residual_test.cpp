#include "ops/batch_norm/batch_norm_residual.h"

#include <gtest/gtest.h>

#include <cmath>

#include "core/base/error.h"
#include "core/passes/autodiff.h"
#include "core/passes/eliminate_dead.h"
#include "core/passes/fuse.h"
#include "ops/activation/activation.h"
#include "ops/batch_norm/batch_norm.h"
#include "ops/binary/binary.h"
#include "tests/core/run_graph.h"
#include "tests/ops/op_test.h"
#include "tests/test_device.h"

namespace lockstep::testing {
namespace {

std::vector<double> wave(std::int64_t count, double step, double size = 1) {
  std::vector<double> out;
  for (std::int64_t i = 0; i < count; ++i) out.push_back(size * std::sin(step * static_cast<double>(i * i % 1009)));
  return out;
}
std::vector<double> slopes(std::int64_t count, double from) {
  std::vector<double> out;
  for (std::int64_t i = 0; i < count; ++i) out.push_back(from + 0.1 * static_cast<double>(i % 7));
  return out;
}

// ---- Against naive loops in double -------------------------------------------------------------

TEST(BatchNormResidual, AgreesWithTheNaiveLoop) {
  for (const bool relu : {false, true}) {
    for (const Shape& shape : {Shape{2, 1}, Shape{7, 3}, Shape{5, 33}, Shape{2, 3, 5, 4}, Shape{3, 130}, Shape{4, 20, 20, 64},
                               Shape{1000, 3}, Shape{20, 2100}}) {
      const TensorType data{DType::kF32, shape}, vector{DType::kF32, {shape[-1]}};
      const auto reference = [=](const Tensors& in) {
        const std::size_t channels = in[1].size(), rows = in[0].size() / channels;
        Tensors out{std::vector<double>(in[0].size()), std::vector<double>(channels), std::vector<double>(channels)};
        for (std::size_t c = 0; c < channels; ++c) {
          double mean = 0, variance = 0;
          for (std::size_t i = 0; i < rows; ++i) mean += in[0][i * channels + c] / static_cast<double>(rows);
          for (std::size_t i = 0; i < rows; ++i) {
            variance += std::pow(in[0][i * channels + c] - mean, 2) / static_cast<double>(rows);
          }
          for (std::size_t i = c; i < in[0].size(); i += channels) {
            const double y = (in[0][i] - mean) / std::sqrt(variance + 0.1) * in[1][c] + in[2][c] + in[3][i];
            out[0][i] = relu && y < 0 ? 0 : y;
          }
          out[1][c] = mean;
          out[2][c] = variance;
        }
        return out;
      };
      check_op({.name = text("batch_norm_residual", shape, relu ? " relu" : ""),
                .op = std::make_shared<BatchNormResidualOp>(0.1, relu),
                .inputs = {data, vector, vector, data},
                .reference = reference,
                .reduction_length = static_cast<double>(shape.elements() / shape[-1]),
                .keeps_f32 = {1, 2},
                .gradient = false});
    }
  }
}

TEST(BatchNormResidualBackward, AgreesWithTheNaiveLoop) {
  for (const bool two : {false, true}) {
    for (const Shape& shape : {Shape{2, 1}, Shape{7, 3}, Shape{5, 33}, Shape{2, 3, 5, 4}, Shape{3, 130}, Shape{4, 20, 20, 64},
                               Shape{1000, 3}, Shape{20, 2100}}) {
      const TensorType data{DType::kF32, shape}, vector{DType::kF32, {shape[-1]}};
      OpCase c{.name = text("batch_norm_residual_backward", shape, two ? " two" : ""),
               .op = std::make_shared<BatchNormResidualBackwardOp>(0.1),
               .inputs = {data, data, data, vector, vector, vector, vector},
               .low = 0.1,
               .reduction_length = static_cast<double>(shape.elements() / shape[-1]),
               .keeps_f32 = {3, 4, 5, 6},
               .gradient = false};
      c.values = {{}, wave(shape.elements(), 0.7)};  // y of both signs
      if (two) c.inputs.push_back(data);
      c.values.resize(c.inputs.size());
      c.reference = [=](const Tensors& in) {
        const std::size_t channels = in[3].size();
        const double rows = static_cast<double>(in[0].size() / channels);
        Tensors out{in[0], in[0], std::vector<double>(channels), std::vector<double>(channels)};
        for (std::size_t i = 0; i < in[0].size(); ++i) {
          const double dy = two ? in[0][i] + in[7][i] : in[0][i];
          out[0][i] = in[1][i] > 0 ? dy : 0;
          out[2][i % channels] += out[0][i] * (in[2][i] - in[5][i % channels]) / std::sqrt(in[6][i % channels] + 0.1);
          out[3][i % channels] += out[0][i];
        }
        for (std::size_t i = 0; i < in[0].size(); ++i) {
          const double r = 1 / std::sqrt(in[6][i % channels] + 0.1), distance = in[2][i] - in[5][i % channels];
          out[1][i] = in[3][i % channels] * r *
                      (out[0][i] - out[3][i % channels] / rows - distance * r * out[2][i % channels] / rows);
        }
        return out;
      };
      check_op(c);
    }
  }
}

// ---- Fusion ------------------------------------------------------------------------------------

// Two residual blocks, of which the second has a projection, with all gradients.
Graph residual_graph(const Shape& shape, DType dtype) {
  Graph graph;
  const TensorType data{dtype, shape}, vector{DType::kF32, {shape[-1]}};
  const ValueId x = graph.input("x", data), scale = graph.input("scale", vector), offset = graph.input("offset", vector);
  const ValueId dy = graph.input("dy", data);
  // What stands for a convolution.
  const auto layer = [&](ValueId of, const std::string& name) { return tanh(graph, of, name); };
  const auto norm = [&](ValueId of, const std::string& name) {
    const BatchNormResult result = batch_norm(graph, of, scale, offset, 1e-3, name);
    graph.output(name + "/mean", result.mean);
    return result.y;
  };
  const ValueId stem = relu(graph, norm(layer(x, "a"), "a/norm"), "stem");
  const ValueId first = relu(graph, add(graph, norm(layer(stem, "b"), "b/norm"), stem, "first/sum"), "first");
  const ValueId projection = norm(layer(first, "c"), "c/norm");
  const ValueId second = relu(graph, add(graph, norm(layer(first, "d"), "d/norm"), projection, "second/sum"), "second");
  graph.output("y", second);
  const auto gradients = differentiate(graph, std::vector{second}, std::vector{dy}, std::vector{x, scale, offset});
  const char* names[] = {"dx", "dscale", "doffset"};
  for (int i = 0; i < 3; ++i) graph.output(names[i], gradients[static_cast<std::size_t>(i)]);
  return graph;
}

std::map<std::string, int> count_ops(const Graph& graph) {
  std::map<std::string, int> out;
  for (const Node& node : graph.nodes()) ++out[node.op->to_string()];
  return out;
}

TEST(BatchNormResidual, FusesInResidualBlocks) {
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    const Shape shape{6, 5, 2, 8};
    const Graph plain = residual_graph(shape, dtype);
    const Graph fused = eliminate_dead(fuse(plain, batch_norm_fusions()));
    fused.verify();
    const auto counts = count_ops(fused);
    const auto count = [&](const std::string& op) { return counts.contains(op) ? counts.at(op) : 0; };
    EXPECT_EQ(count("batch_norm[epsilon=0.001 relu=true]"), 1);           // the stem's
    EXPECT_EQ(count("batch_norm_residual[epsilon=0.001 relu=true]"), 2);  // the blocks'
    EXPECT_EQ(count("batch_norm[epsilon=0.001]"), 1);                     // of the projection
    EXPECT_EQ(count("batch_norm_residual_backward[epsilon=0.001]"), 2);
    EXPECT_EQ(count("batch_norm_backward[epsilon=0.001]"), 1);
    EXPECT_EQ(count("relu") + count("add") + count("relu_backward"), 0);
    // The block with two ways behind it adds their gradients itself.
    int with_two = 0;
    for (const Node& node : fused.nodes()) with_two += node.op->name() == "batch_norm_residual_backward" && node.inputs.size() == 8;
    EXPECT_EQ(with_two, 1);
    const std::int64_t channels = shape[-1];
    const std::map<std::string, std::vector<double>> feeds{{"x", wave(shape.elements(), 0.7, 3)},
                                                           {"dy", wave(shape.elements(), 0.3)},
                                                           {"scale", slopes(channels, 0.5)},
                                                           {"offset", slopes(channels, -0.3)}};
    const auto expected = run_graph(plain, test_registry(), test_device(), feeds);
    const auto found = run_graph(fused, test_registry(), test_device(), feeds);
    for (const auto& [name, values] : expected) {
      // In bf16 a norm that is not rounded before the sum moves some elements across the kink of relu.
      double worst = 0, distance = 0, size = 0;
      for (std::size_t i = 0; i < values.size(); ++i) {
        worst = std::max(worst, std::abs(found.at(name)[i] - values[i]));
        distance += std::pow(found.at(name)[i] - values[i], 2);
        size += values[i] * values[i];
      }
      if (dtype == DType::kF32) {
        EXPECT_LT(worst, 2e-5) << name;
      }
      EXPECT_LT(std::sqrt(distance / size), dtype == DType::kF32 ? 1e-5 : 0.05) << name;
    }
  }
}

TEST(BatchNormResidual, FusedIsTheSameToTheBitWhereNothingIsRoundedBetween) {
  const Shape shape{9, 5, 3, 8};
  const TensorType data{DType::kF32, shape}, vector{DType::kF32, {shape[-1]}};
  const auto x = wave(shape.elements(), 0.7, 3), r = wave(shape.elements(), 0.4);
  const auto scale = slopes(8, 0.5), offset = slopes(8, -0.3);
  Graph graph;
  const ValueId norm = batch_norm(graph, graph.input("x", data), graph.input("scale", vector), graph.input("offset", vector),
                                  1e-3, "norm").y;
  graph.output("y", relu(graph, add(graph, graph.input("r", data), norm, "sum"), "relu"));
  const std::map<std::string, std::vector<double>> feeds{{"x", x}, {"r", r}, {"scale", scale}, {"offset", offset}};
  const Graph fused = eliminate_dead(fuse(graph, batch_norm_fusions()));
  EXPECT_EQ(fused.nodes().size(), 1u);
  EXPECT_EQ(run_graph(fused, test_registry(), test_device(), feeds), run_graph(graph, test_registry(), test_device(), feeds));
}

TEST(BatchNormResidual, DoesNotFuseWhereThePartsAreReadElsewhere) {
  const TensorType data{DType::kF32, {4, 3}}, vector{DType::kF32, {3}};
  {
    Graph graph;
    const ValueId x = graph.input("x", data), c = graph.input("c", vector);
    const ValueId y = batch_norm(graph, x, c, c, 1e-3, "norm").y;
    graph.output("sum", add(graph, y, x, "sum"));
    graph.output("sigmoid", sigmoid(graph, y, "sigmoid"));
    EXPECT_EQ(fuse(graph, batch_norm_fusions()).to_string(), graph.to_string());
  }
  {
    Graph graph;  // a sum of other shapes
    const ValueId x = graph.input("x", data), c = graph.input("c", vector);
    graph.output("sum", add(graph, batch_norm(graph, x, c, c, 1e-3, "norm").y, c, "sum"));
    EXPECT_EQ(fuse(graph, batch_norm_fusions()).to_string(), graph.to_string());
  }
  {
    Graph graph;  // the mean is read before the sum
    const ValueId x = graph.input("x", data), c = graph.input("c", vector);
    const BatchNormResult norm = batch_norm(graph, x, c, c, 1e-3, "norm");
    graph.output("mean", sigmoid(graph, norm.mean, "sigmoid"));
    graph.output("sum", add(graph, norm.y, x, "sum"));
    EXPECT_EQ(fuse(graph, batch_norm_fusions()).to_string(), graph.to_string());
  }
}

TEST(BatchNormResidualBackward, ComputesInPlaceAndInUnalignedMemory) {
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    for (const Shape& shape : {Shape{3000, 64}, Shape{100, 24}, Shape{33, 5}}) {
      SCOPED_TRACE(text(name_of(dtype), shape));
      const TensorType data{dtype, shape}, vector{DType::kF32, {shape[-1]}};
      const std::int64_t n = shape.elements();
      const Tensors inputs{wave(n, 0.3),          wave(n, 0.5),           wave(n, 0.7, 3),        slopes(shape[-1], 0.5),
                           slopes(shape[-1], -1), slopes(shape[-1], 0.1), slopes(shape[-1], 2.0), wave(n, 0.9)};
      OpRun run{{data, data, data, vector, vector, vector, vector, data}, {data, data, vector, vector}};
      const BatchNormResidualBackwardOp op(1e-3);
      const Tensors expected = run_op(op, run, test_registry(), test_device(), inputs);
      run.in_place = true;
      EXPECT_EQ(run_op(op, run, test_registry(), test_device(), inputs), expected);
      run.in_place = false;
      run.offset = 4;
      EXPECT_EQ(run_op(op, run, test_registry(), test_device(), inputs), expected);
    }
  }
}

TEST(BatchNormResidual, KeepsNaN) {
  const Shape shape{4, 2};
  const TensorType data{DType::kF32, shape}, vector{DType::kF32, {2}};
  const OpRun run{{data, vector, vector, data}, {data, vector, vector}};
  std::vector<double> r(8, 0.0);
  r[5] = std::nan("");
  const Tensors found = run_op(BatchNormResidualOp(1e-3, true), run, test_registry(), test_device(),
                               {wave(8, 0.7), {1, 1}, {0, 0}, r});
  for (std::size_t i = 0; i < 8; ++i) EXPECT_EQ(std::isnan(found[0][i]), i == 5) << i;
}

// ---- What it refuses ---------------------------------------------------------------------------

TEST(BatchNormResidual, ShapesThatAreRefused) {
  const TensorType data{DType::kF32, {8, 4}}, vector{DType::kF32, {4}}, other{DType::kF32, {4, 8}};
  const auto message = [](const Op& op, const std::vector<TensorType>& inputs) -> std::string {
    try {
      op.infer(inputs);
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  };
  EXPECT_EQ(message(BatchNormResidualOp(1e-3), {data, vector, vector, other}),
            "what is added is f32(4, 8), the input f32(8, 4), expected equal types");
  EXPECT_EQ(message(BatchNormResidualOp(1e-3), {data, vector, vector}),
            "takes input, scale, offset and what is added, got 3 inputs");
  EXPECT_EQ(message(BatchNormResidualBackwardOp(1e-3), {data, other, data, vector, vector, vector, vector}),
            "the result is f32(4, 8), the input f32(8, 4), expected equal types");
  EXPECT_EQ(message(BatchNormResidualBackwardOp(1e-3), {data, data, data, vector, vector, vector, data}),
            "variance is f32(8, 4), expected f32(4) for input (8, 4)");
}

}  // namespace
}  // namespace lockstep::testing
