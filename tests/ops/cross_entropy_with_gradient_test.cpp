#include "ops/losses/cross_entropy_with_gradient.h"

#include <gtest/gtest.h>

#include <cmath>

#include "core/base/error.h"
#include "core/builtin/builtin.h"
#include "core/passes/autodiff.h"
#include "core/passes/eliminate_dead.h"
#include "core/passes/fuse.h"
#include "tests/core/run_graph.h"
#include "tests/ops/op_test.h"
#include "tests/test_device.h"

namespace lockstep::testing {
namespace {

struct Target {
  bool shares = false, weighted = false;
  double smoothing = 0;
};

TensorType target_type(const Shape& logits, const Target& target) {
  if (target.shares) return {DType::kF32, logits};
  return {DType::kI32, logits.slice(0, logits.rank() - 1)};
}

// Loss, and gradient of the logits, in double.
Tensors naive(const Tensors& in, const Shape& shape, const Target& target, double scale) {
  const auto classes = static_cast<std::size_t>(shape[-1]);
  const std::size_t rows = in[0].size() / classes, positions = rows / static_cast<std::size_t>(shape[0]);
  Tensors out{{0.0}, in[0]};
  for (std::size_t row = 0; row < rows; ++row) {
    const double* x = in[0].data() + row * classes;
    double largest = x[0], sum = 0, all = 0;
    for (std::size_t k = 0; k < classes; ++k) largest = std::max(largest, x[k]);
    for (std::size_t k = 0; k < classes; ++k) sum += std::exp(x[k] - largest);
    const auto share_of = [&](std::size_t k) {
      const double share = target.shares ? in[1][row * classes + k] : static_cast<double>(in[1][row] == static_cast<double>(k));
      return share * (1 - target.smoothing) + target.smoothing / static_cast<double>(classes);
    };
    for (std::size_t k = 0; k < classes; ++k) all += share_of(k);
    const double weight = scale / static_cast<double>(positions) * (target.weighted ? in[2][row / positions] : 1.0);
    for (std::size_t k = 0; k < classes; ++k) {
      out[0][0] += weight * share_of(k) * (std::log(sum) + largest - x[k]);
      out[1][row * classes + k] = weight * (std::exp(x[k] - largest) / sum * all - share_of(k));
    }
  }
  return out;
}

TEST(CrossEntropyWithGradient, AgreesWithTheNaiveLoop) {
  for (const Target& target : {Target{}, Target{.weighted = true}, Target{.smoothing = 0.1}, Target{.shares = true},
                               Target{.shares = true, .weighted = true, .smoothing = 0.2}}) {
    for (const Shape& shape : {Shape{1, 2}, Shape{7, 10}, Shape{300, 10}, Shape{3, 5, 12}, Shape{5, 130}, Shape{2, 4, 1000},
                               Shape{3, 17000}, Shape{2, 17001}, Shape{2, 33000}}) {
      OpCase c{.name = text("cross entropy", shape, target.shares ? " shares" : "", target.weighted ? " weighted" : "",
                            " smoothing ", target.smoothing),
               .op = std::make_shared<CrossEntropyWithGradientOp>(SoftmaxCrossEntropyOp(0.5, target.smoothing)),
               .inputs = {{DType::kF32, shape}, target_type(shape, target)},
               .low = target.shares || target.weighted ? 0.0 : -4.0,
               .high = 4.0,
               .integer_bound = shape[-1],
               .reduction_length = static_cast<double>(shape.elements()),
               .keeps_f32 = {1, 2},
               .gradient = false};
      if (target.weighted) c.inputs.push_back({DType::kF32, {shape[0]}});
      c.reference = [=](const Tensors& in) { return naive(in, shape, target, 0.5); };
      check_op(c);
    }
  }
}

TEST(CrossEntropyWithGradient, ALabelThatIsNoClassIsNaN) {
  for (const std::int64_t classes : {10, 400, 20000}) {
    const OpRun run{{{DType::kF32, {3, classes}}, {DType::kI32, {3}}}, {{DType::kF32, {}}, {DType::kF32, {3, classes}}}};
    const std::vector<double> logits(static_cast<std::size_t>(3 * classes), 0.5);
    const CrossEntropyWithGradientOp op(SoftmaxCrossEntropyOp(1.0));
    const Tensors found = run_op(op, run, test_registry(), test_device(), {logits, {1, static_cast<double>(classes), 2}});
    EXPECT_TRUE(std::isnan(found[0][0]));
    for (std::int64_t i = 0; i < 3 * classes; i += 3) {
      EXPECT_EQ(std::isnan(found[1][static_cast<std::size_t>(i)]), i / classes == 1) << classes << ' ' << i;
    }
  }
}

TEST(CrossEntropyWithGradient, IsTheSameInUnalignedMemoryAndWhenRepeated) {
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    for (const Shape& shape : {Shape{700, 12}, Shape{40, 1000}, Shape{3, 18000}}) {
      OpRun run{{{dtype, shape}, {DType::kI32, {shape[0]}}}, {{DType::kF32, {}}, {dtype, shape}}};
      std::vector<double> logits, labels;
      for (std::int64_t i = 0; i < shape.elements(); ++i) logits.push_back(std::sin(static_cast<double>(i * i % 997)));
      for (std::int64_t i = 0; i < shape[0]; ++i) labels.push_back(static_cast<double>(i * 7 % shape[1]));
      const CrossEntropyWithGradientOp op(SoftmaxCrossEntropyOp(0.25, 0.1));
      const Tensors expected = run_op(op, run, test_registry(), test_device(), {logits, labels});
      EXPECT_EQ(run_op(op, run, test_registry(), test_device(), {logits, labels}), expected);
      run.offset = 4;
      EXPECT_EQ(run_op(op, run, test_registry(), test_device(), {logits, labels}), expected);
    }
  }
}

// ---- Fusion ------------------------------------------------------------------------------------

Graph loss_graph(DType dtype, double cotangent) {
  Graph graph;
  const ValueId low = graph.input("logits", {dtype, {6, 5}}), labels = graph.input("labels", {DType::kI32, {6}});
  const ValueId logits = dtype == DType::kF32 ? low : cast(graph, low, DType::kF32, "wide");
  const ValueId loss = softmax_cross_entropy(graph, SoftmaxCrossEntropyOp(0.5, 0.1), logits, labels, kNoValue, "loss");
  const ValueId one = fill(graph, graph.type(loss), cotangent, "one");
  graph.output("loss", loss);
  graph.output("gradient", differentiate(graph, std::vector{loss}, std::vector{one}, std::vector{low})[0]);
  return graph;
}

TEST(CrossEntropyWithGradient, FusesWithItsBackwardOpAndTheCasts) {
  std::vector<double> logits;
  for (int i = 0; i < 30; ++i) logits.push_back(i * 37 % 23 * 0.25 - 2);  // exact in bf16
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    const Graph plain = loss_graph(dtype, 1);
    const Graph fused = eliminate_dead(fuse(plain, cross_entropy_fusions()));
    fused.verify();
    ASSERT_EQ(fused.nodes().size(), 1u) << fused.to_string();
    const std::map<std::string, std::vector<double>> feeds{{"logits", logits}, {"labels", {0, 1, 2, 3, 4, 0}}};
    const auto expected = run_graph(plain, test_registry(), test_device(), feeds);
    const auto found = run_graph(fused, test_registry(), test_device(), feeds);
    EXPECT_NEAR(found.at("loss")[0], expected.at("loss")[0], 1e-6 * expected.at("loss")[0]);
    EXPECT_EQ(found.at("gradient"), expected.at("gradient"));
  }
}

TEST(CrossEntropyWithGradient, DoesNotFuseWhereTheLossIsReadOrScaled) {
  const Graph scaled = loss_graph(DType::kF32, 2);
  EXPECT_EQ(fuse(scaled, cross_entropy_fusions()).to_string(), scaled.to_string());
  Graph graph;
  const ValueId logits = graph.input("logits", {DType::kF32, {6, 5}}), labels = graph.input("labels", {DType::kI32, {6}});
  const ValueId loss = softmax_cross_entropy(graph, SoftmaxCrossEntropyOp(1), logits, labels, kNoValue, "loss");
  graph.output("loss", loss);
  EXPECT_EQ(fuse(graph, cross_entropy_fusions()).to_string(), graph.to_string());
}

TEST(CrossEntropyWithGradient, ACastOfTheLossIsNotThatOfItsGradient) {
  Graph graph;
  const ValueId low = graph.input("logits", {DType::kBF16, {6, 5}}), labels = graph.input("labels", {DType::kI32, {6}});
  const ValueId logits = cast(graph, low, DType::kF32, "wide");
  const ValueId loss = softmax_cross_entropy(graph, SoftmaxCrossEntropyOp(1), logits, labels, kNoValue, "loss");
  const ValueId one = fill(graph, graph.type(loss), 1, "one");
  graph.output("gradient", differentiate(graph, std::vector{loss}, std::vector{one}, std::vector{low})[0]);
  graph.output("rounded", cast(graph, loss, DType::kBF16, "rounded"));
  const Graph fused = eliminate_dead(fuse(graph, cross_entropy_fusions()));
  fused.verify();
  EXPECT_EQ(fused.nodes().size(), 2u) << fused.to_string();
}

TEST(CrossEntropyWithGradient, TypesThatAreRefused) {
  const CrossEntropyWithGradientOp op(SoftmaxCrossEntropyOp(1));
  const auto message = [&](const std::vector<TensorType>& inputs) -> std::string {
    try {
      op.infer(inputs);
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  };
  EXPECT_EQ(message({{DType::kI32, {4, 3}}, {DType::kI32, {4}}}), "prediction is i32(4, 3), expected f32 or bf16");
  EXPECT_EQ(message({{DType::kBF16, {4, 3}}, {DType::kI32, {4}}}), "no error");
}

}  // namespace
}  // namespace lockstep::testing
