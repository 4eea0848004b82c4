#include "ops/losses/loss.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/base/error.h"
#include "core/passes/autodiff.h"
#include "ops/losses/element_loss.h"
#include "ops/losses/softmax_cross_entropy.h"
#include "tests/core/run_graph.h"
#include "tests/ops/losses_reference.h"
#include "tests/ops/op_test.h"
#include "tests/test_device.h"

namespace lockstep::testing {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

// ---- Against naive loops in double -------------------------------------------------------------

double element_value(ElementLossKind kind, double x, double t, double smoothing) {
  switch (kind) {
    case ElementLossKind::kSquared:
      return (x - t) * (x - t);
    case ElementLossKind::kAbsolute:
      return std::abs(x - t);
    case ElementLossKind::kBinaryCrossEntropy:
      break;
  }
  t = t * (1 - smoothing) + smoothing / 2;
  const double p = 1 / (1 + std::exp(-x));
  return -t * std::log(p) - (1 - t) * std::log(1 - p);
}

OpCase element_case(ElementLossKind kind, const Shape& shape, bool weighted, double smoothing = 0) {
  const double scale = 0.25;
  const auto op = std::make_shared<ElementLossOp>(kind, scale, smoothing);
  OpCase c{.name = text(op->name(), shape, weighted ? " weighted" : ""),
           .op = op,
           .inputs = {{DType::kF32, shape}, {DType::kF32, shape}},
           .low = kind == ElementLossKind::kBinaryCrossEntropy ? 0.0 : -2.0,
           .high = kind == ElementLossKind::kBinaryCrossEntropy ? 1.0 : 2.0,
           .reduction_length = static_cast<double>(shape.elements()),
           .bf16 = false,
           .no_gradient = {1}};
  if (weighted) {
    c.inputs.push_back({DType::kF32, {shape[0]}});
    c.no_gradient.push_back(2);
  }
  c.reference = [=](const Tensors& in) -> Tensors {
    const std::int64_t row = shape.elements(1, shape.rank());
    double loss = 0;
    for (std::int64_t i = 0; i < shape.elements(); ++i) {
      const double weight = weighted ? in[2][i / row] : 1.0;
      loss += weight * element_value(kind, in[0][i], in[1][i], smoothing);
    }
    return {{loss * scale / static_cast<double>(row)}};
  };
  return c;
}

TEST(ElementLoss, AgreesWithTheNaiveLoop) {
  for (const ElementLossKind kind : {ElementLossKind::kSquared, ElementLossKind::kAbsolute,
                                     ElementLossKind::kBinaryCrossEntropy}) {
    for (const Shape& shape : {Shape{1}, Shape{1, 1}, Shape{5}, Shape{3, 7}, Shape{2, 3, 5},
                               Shape{1, 33}, Shape{2, 1100}}) {
      // Central differences of thousands of elements take long; the gradient is looked at below
      // 100.
      for (const bool weighted : {false, true}) {
        OpCase c = element_case(kind, shape, weighted);
        c.gradient = shape.elements() < 100;
        check_op(c);
      }
    }
  }
}

TEST(ElementLoss, SmoothsBinaryTargets) {
  check_op(element_case(ElementLossKind::kBinaryCrossEntropy, {4, 3}, false, 0.2));
  check_op(element_case(ElementLossKind::kBinaryCrossEntropy, {4, 3}, true, 0.1));
}

TEST(ElementLoss, AnEmptyBatchHasNoLoss) {
  OpCase c = element_case(ElementLossKind::kSquared, {0, 3}, false);
  c.gradient = false;
  check_op(c);
}

OpCase softmax_case(const Shape& shape, bool weighted, double smoothing = 0) {
  const double scale = 0.5;
  const Shape positions = shape.slice(0, shape.rank() - 1);
  const std::int64_t classes = shape[-1];
  OpCase c{.name = text("softmax_cross_entropy", shape, weighted ? " weighted" : ""),
           .op = std::make_shared<SoftmaxCrossEntropyOp>(scale, smoothing),
           .inputs = {{DType::kF32, shape}, {DType::kI32, positions}},
           .low = weighted ? 0.0 : -4.0,
           .high = 4.0,
           .integer_bound = classes,
           .reduction_length = static_cast<double>(shape.elements()),
           .bf16 = false};
  if (weighted) {
    c.inputs.push_back({DType::kF32, {shape[0]}});
    c.no_gradient = {2};
  }
  c.reference = [=](const Tensors& in) -> Tensors {
    const std::int64_t rows = positions.elements(), row_positions = rows / shape[0];
    double loss = 0;
    for (std::int64_t row = 0; row < rows; ++row) {
      const double* x = in[0].data() + row * classes;
      double sum = 0;
      for (std::int64_t k = 0; k < classes; ++k) sum += std::exp(x[k]);
      double row_loss = 0;
      for (std::int64_t k = 0; k < classes; ++k) {
        const double target =
            (k == in[1][row] ? 1 - smoothing : 0) + smoothing / static_cast<double>(classes);
        row_loss -= target * (x[k] - std::log(sum));
      }
      loss += row_loss * (weighted ? in[2][row / row_positions] : 1.0);
    }
    return {{loss * scale / static_cast<double>(row_positions)}};
  };
  return c;
}

// A share of each class in place of one class.
OpCase shares_case(const Shape& shape, bool weighted, double smoothing = 0) {
  const double scale = 0.5;
  const std::int64_t classes = shape[-1], rows = shape.elements() / classes;
  OpCase c{.name = text("softmax_cross_entropy of shares", shape, weighted ? " weighted" : ""),
           .op = std::make_shared<SoftmaxCrossEntropyOp>(scale, smoothing),
           .inputs = {{DType::kF32, shape}, {DType::kF32, shape}},
           .low = 0.0,
           .high = 2.0,
           .reduction_length = static_cast<double>(shape.elements()),
           .bf16 = false,
           .no_gradient = {1}};
  if (weighted) {
    c.inputs.push_back({DType::kF32, {shape[0]}});
    c.no_gradient.push_back(2);
  }
  c.reference = [=](const Tensors& in) -> Tensors {
    double loss = 0;
    for (std::int64_t row = 0; row < rows; ++row) {
      double sum = 0;
      for (std::int64_t k = 0; k < classes; ++k) sum += std::exp(in[0][row * classes + k]);
      for (std::int64_t k = 0; k < classes; ++k) {
        const double share = in[1][row * classes + k] * (1 - smoothing) + smoothing / static_cast<double>(classes);
        const double weight = weighted ? in[2][row / (rows / shape[0])] : 1.0;
        loss -= weight * share * (in[0][row * classes + k] - std::log(sum));
      }
    }
    return {{loss * scale / static_cast<double>(rows / shape[0])}};
  };
  return c;
}

TEST(SoftmaxCrossEntropy, OfSharesAgreesWithTheNaiveLoop) {
  for (const Shape& shape : {Shape{1, 2}, Shape{5, 10}, Shape{3, 4, 7}, Shape{2, 33}}) {
    for (const bool weighted : {false, true}) {
      for (const double smoothing : {0.0, 0.1}) check_op(shares_case(shape, weighted, smoothing));
    }
  }
}

TEST(SoftmaxCrossEntropy, OfWholeSharesIsThatOfClasses) {
  Graph graph;
  const ValueId x = graph.input("x", {DType::kF32, {3, 4}});
  const ValueId labels = graph.input("labels", {DType::kI32, {3}});
  const ValueId shares = graph.input("shares", {DType::kF32, {3, 4}});
  const SoftmaxCrossEntropyOp op(1.0, 0.1);
  graph.output("classes", softmax_cross_entropy(graph, op, x, labels, kNoValue));
  graph.output("shares", softmax_cross_entropy(graph, op, x, shares, kNoValue));
  // 1e30 is as far as a logit gets.
  auto found = run_graph(graph, test_registry(), test_device(),
                         {{"x", {1, 2, 3, 4, 1e30, -1e30, 0, 1, -5, 5, 2, 0}},
                          {"labels", {2, 0, 1}},
                          {"shares", {0, 0, 1, 0, 1, 0, 0, 0, 0, 1, 0, 0}}});
  EXPECT_NEAR(found["shares"][0] / found["classes"][0], 1.0, 1e-6);
}

TEST(SoftmaxCrossEntropy, AgreesWithTheNaiveLoop) {
  for (const Shape& shape : {Shape{1, 2}, Shape{1, 10}, Shape{5, 3}, Shape{3, 17}, Shape{2, 3, 5},
                             Shape{2, 1, 2, 9}, Shape{1, 130}}) {
    check_op(softmax_case(shape, false));
    check_op(softmax_case(shape, true));
    check_op(softmax_case(shape, true, 0.1));
  }
  OpCase labels_of_rank_two = softmax_case({4, 3}, false, 0.3);
  labels_of_rank_two.inputs[1].shape = {4, 1};
  check_op(labels_of_rank_two);
}

// ---- Against PyTorch, and at the ends of the range ---------------------------------------------

struct LossAndGradient {
  double loss;
  std::vector<double> gradient;
};

LossAndGradient run(const Loss& loss, const Shape& shape, const std::vector<double>& x,
                    const TensorType& target_type, const std::vector<double>& t,
                    const std::vector<double>& weights = {}) {
  Graph graph;
  const ValueId prediction = graph.input("x", {DType::kF32, shape});
  const ValueId target = graph.input("t", target_type);
  const ValueId weight = weights.empty() ? kNoValue : graph.input("w", {DType::kF32, {shape[0]}});
  const ValueId one = graph.input("one", {DType::kF32, {}});
  const ValueId value =
      loss.build(graph, prediction, target, weight, 1.0 / static_cast<double>(shape[0]));
  graph.output("loss", value);
  const auto gradients =
      differentiate(graph, std::vector{value}, std::vector{one}, std::vector{prediction});
  graph.output("gradient", gradients[0]);
  graph.verify();
  auto found =
      run_graph(graph, test_registry(), test_device(), {{"x", x}, {"t", t}, {"w", weights}, {"one", {1.0}}});
  return {found["loss"][0], found["gradient"]};
}

void expect_equal(const LossAndGradient& found, double loss, std::span<const double> gradient) {
  EXPECT_NEAR(found.loss, loss, 2e-6 * std::max(1.0, std::abs(loss)));
  ASSERT_EQ(found.gradient.size(), gradient.size());
  for (std::size_t i = 0; i < gradient.size(); ++i) {
    EXPECT_NEAR(found.gradient[i], gradient[i], 1e-6) << "element " << i;
  }
}

std::vector<double> list(std::span<const double> values) {
  return {values.begin(), values.end()};
}

TEST(Losses, AgreeWithPyTorch) {
  using namespace reference;  // NOLINT: the reference's arrays only
  const std::vector<double> labels(std::begin(kLabels), std::end(kLabels));
  const TensorType label_type{DType::kI32, {4}};
  const auto softmax = Loss::make({.kind = "softmax_cross_entropy"});
  expect_equal(run(*softmax, {4, 5}, list(kLogits), label_type, labels), kSoftmaxLoss[0],
               kSoftmaxGradient);
  const auto smooth = Loss::make({.kind = "softmax_cross_entropy", .label_smoothing = 0.1});
  expect_equal(run(*smooth, {4, 5}, list(kLogits), label_type, labels), kSmoothSoftmaxLoss[0],
               kSmoothSoftmaxGradient);

  const struct {
    const char* kind;
    double loss;
    std::span<const double> gradient;
    double weighted_loss;
    std::span<const double> weighted_gradient;
  } cases[] = {{"mean_squared_error", kSquaredLoss[0], kSquaredGradient, kWeightedSquaredLoss[0],
                kWeightedSquaredGradient},
               {"mean_absolute_error", kAbsoluteLoss[0], kAbsoluteGradient,
                kWeightedAbsoluteLoss[0], kWeightedAbsoluteGradient},
               {"binary_cross_entropy", kBinaryLoss[0], kBinaryGradient, kWeightedBinaryLoss[0],
                kWeightedBinaryGradient}};
  const TensorType target_type{DType::kF32, {4, 3}};
  for (const auto& c : cases) {
    SCOPED_TRACE(c.kind);
    const auto loss = Loss::make({.kind = c.kind});
    const auto x = list(kPrediction), t = list(kTarget);
    expect_equal(run(*loss, {4, 3}, x, target_type, t), c.loss, c.gradient);
    expect_equal(run(*loss, {4, 3}, x, target_type, t, list(kWeights)), c.weighted_loss,
                 c.weighted_gradient);
  }
}

TEST(Losses, SoftmaxCrossEntropyOfExtremeLogits) {
  const auto loss = Loss::make({.kind = "softmax_cross_entropy"});
  const TensorType labels{DType::kI32, {2}};
  for (const double size : {1e4, 1e30}) {
    // Sure and right; sure and wrong.
    const std::vector<double> x{size, 0, -size, 0, -size, size};
    const auto right = run(*loss, {2, 3}, x, labels, {0, 2});
    EXPECT_EQ(right.loss, 0);
    for (const double element : right.gradient) EXPECT_EQ(element, 0);
    const auto wrong = run(*loss, {2, 3}, x, labels, {1, 0});
    EXPECT_NEAR(wrong.loss / size, 1, 1e-6);
    expect_equal({0, wrong.gradient}, 0, std::vector{0.5, -0.5, 0.0, -0.5, 0.0, 0.5});
    // All the same, however large.
    const auto even = run(*loss, {2, 3}, std::vector(6, -size), labels, {1, 0});
    EXPECT_NEAR(even.loss, std::log(3), 1e-6);
  }
  const auto smooth = Loss::make({.kind = "softmax_cross_entropy", .label_smoothing = 0.3});
  const auto far = run(*smooth, {1, 3}, {1e30, -1e30, 0}, {DType::kI32, {1}}, {0});
  EXPECT_NEAR(far.loss / 1e30, 0.3, 1e-6);
  expect_equal({0, far.gradient}, 0, std::vector{0.2, -0.1, -0.1});
}

TEST(Losses, BinaryCrossEntropyOfExtremeLogits) {
  const auto loss = Loss::make({.kind = "binary_cross_entropy"});
  for (const double size : {1e4, 1e30}) {
    const auto found =
        run(*loss, {4}, {size, -size, size, -size}, {DType::kI32, {4, 1}}, {1, 0, 0, 1});
    EXPECT_NEAR(found.loss / size, 0.5, 1e-6);
    expect_equal({0, found.gradient}, 0, std::vector{0.0, 0.0, 0.25, -0.25});
  }
  // Small losses keep their digits: log(1 + e) for tiny e.
  const auto small = run(*loss, {1}, {20.0}, {DType::kF32, {1}}, {1.0});
  EXPECT_NEAR(small.loss / std::log1p(std::exp(-20.0)), 1, 1e-6);
}

TEST(Losses, NanAndWrongLabelsAreSeen) {
  const auto softmax = Loss::make({.kind = "softmax_cross_entropy"});
  for (const double label : {-1.0, 3.0, 1e9}) {
    const auto found = run(*softmax, {2, 3}, {1, 2, 3, 4, 5, 6}, {DType::kI32, {2}}, {0, label});
    EXPECT_TRUE(std::isnan(found.loss)) << label;
    EXPECT_FALSE(std::isnan(found.gradient[0])) << label;
    EXPECT_TRUE(std::isnan(found.gradient[3])) << label;
  }
  EXPECT_TRUE(std::isnan(run(*softmax, {1, 3}, {1, kNan, 3}, {DType::kI32, {1}}, {0}).loss));
  for (const char* kind : {"mean_squared_error", "mean_absolute_error", "binary_cross_entropy"}) {
    const auto loss = Loss::make({.kind = kind});
    EXPECT_TRUE(std::isnan(run(*loss, {2}, {0, kNan}, {DType::kF32, {2}}, {0, 1}).loss)) << kind;
  }
}

TEST(Losses, AreTheSameOnAnyNumberOfThreadsAndRepeatable) {
  Graph graph;
  const ValueId x = graph.input("x", {DType::kF32, {300, 1000}});
  const ValueId t = graph.input("t", {DType::kI32, {300}});
  const ValueId y = graph.input("y", {DType::kF32, {300, 1000}});
  graph.output("a", Loss::make({.kind = "softmax_cross_entropy"})->build(graph, x, t, kNoValue, 1));
  graph.output("b", Loss::make({.kind = "mean_squared_error"})->build(graph, x, y, kNoValue, 1));
  std::map<std::string, std::vector<double>> feeds;
  for (int i = 0; i < 300'000; ++i) {
    feeds["x"].push_back(std::sin(i * 0.37) * 5);
    feeds["y"].push_back(std::cos(i * 0.11) * 2);
  }
  for (int i = 0; i < 300; ++i) feeds["t"].push_back(i * 7 % 1000);
  KernelRegistry of_cpu;
  register_losses_cpu(of_cpu);
  CpuDevice one(1), three(3);
  const auto expected = run_graph(graph, of_cpu, one, feeds);
  EXPECT_EQ(run_graph(graph, of_cpu, three, feeds), expected);
  const auto found = run_graph(graph, test_registry(), test_device(), feeds);
  for (const char* name : {"a", "b"}) EXPECT_NEAR(found.at(name)[0] / expected.at(name)[0], 1.0, 1e-6) << name;
  EXPECT_EQ(run_graph(graph, test_registry(), test_device(), feeds), found);
}

// Few rows and many, short ones and such that no thread can hold; in memory that is not aligned as well.
TEST(Losses, AgreeWithTheCpuHoweverTheyAreCut) {
  KernelRegistry of_cpu;
  register_losses_cpu(of_cpu);
  const auto compare = [&](const Op& op, std::vector<TensorType> inputs, const Tensors& values, const Shape& output) {
    // The CPU's sums are in one row where the compiler does not vectorise (the sanitizers' build).
    const double bound = 0.5 * tolerance(DType::kF32, static_cast<double>(inputs[0].shape[-1]));
    OpRun run{std::move(inputs), {{DType::kF32, output}}};
    CpuDevice cpu;
    const auto expected = run_op(op, run, of_cpu, cpu, values)[0];
    const auto found = run_op(op, run, test_registry(), test_device(), values);
    double largest = 0;
    for (const double value : expected) largest = std::max(largest, std::abs(value));
    for (std::size_t i = 0; i < expected.size(); ++i) {
      EXPECT_NEAR(found[0][i], expected[i], bound * (std::abs(expected[i]) + largest)) << i;
    }
    run.offset = 4;
    EXPECT_EQ(run_op(op, run, test_registry(), test_device(), values), found);
  };
  for (const Shape& shape : {Shape{2, 40'004}, Shape{2, 32'000}, Shape{2, 20'004}, Shape{3, 5003}, Shape{400, 48},
                             Shape{40, 5, 10}, Shape{3, 1000}}) {
    const Shape positions = shape.slice(0, shape.rank() - 1);
    Tensors in(3);  // logits, shares and numbers to compare with, weights
    std::vector<double> labels;
    for (std::int64_t i = 0; i < shape.elements(); ++i) {
      in[0].push_back(5 * std::sin(0.7 * static_cast<double>(i * i % 1009)));
      in[1].push_back(i % 3 == 0 ? 0.0 : 1 + std::cos(0.3 * static_cast<double>(i * i % 911)));
    }
    for (std::int64_t i = 0; i < shape[0]; ++i) in[2].push_back(0.5 + static_cast<double>(i % 4));
    for (std::int64_t i = 0; i < positions.elements(); ++i) labels.push_back(static_cast<double>(i * 31 % shape[-1]));
    const TensorType x{DType::kF32, shape}, weight{DType::kF32, {shape[0]}}, label{DType::kI32, positions}, one{DType::kF32, {}};
    for (const double smoothing : {0.0, 0.1}) {
      SCOPED_TRACE(text(shape, " smoothing ", smoothing));
      const SoftmaxCrossEntropyOp op(0.25, smoothing);
      compare(op, {x, label}, {in[0], labels}, {});
      compare(op, {x, x, weight}, {in[0], in[1], in[2]}, {});
      const SoftmaxCrossEntropyBackwardOp backward(op);
      compare(backward, {x, label, weight, one}, {in[0], labels, in[2], {3.0}}, shape);
      compare(backward, {x, x, one}, {in[0], in[1], {3.0}}, shape);
    }
    for (const ElementLossKind kind :
         {ElementLossKind::kSquared, ElementLossKind::kAbsolute, ElementLossKind::kBinaryCrossEntropy}) {
      const ElementLossOp op(kind, 0.25);
      SCOPED_TRACE(text(op.name(), shape));
      compare(op, {x, x}, {in[0], in[1]}, {});
      compare(op, {x, x, weight}, {in[0], in[1], in[2]}, {});
      compare(ElementLossBackwardOp(op), {x, x, weight, one}, {in[0], in[1], in[2], {3.0}}, shape);
      compare(ElementLossBackwardOp(op), {x, x, one}, {in[0], in[1], {3.0}}, shape);
    }
  }
}

// A class without a share may be infinitely far; one with a share may not.
TEST(Losses, InfinitelyFarClasses) {
  const double infinity = std::numeric_limits<double>::infinity();
  const auto loss = Loss::make({.kind = "softmax_cross_entropy"});
  const auto found = run(*loss, {2, 3}, {1, -infinity, 1, 2, 2, -infinity}, {DType::kF32, {2, 3}}, {1, 0, 0, 0, 1, 0});
  expect_equal(found, std::log(2.0), std::vector{-0.25, 0.0, 0.25, 0.25, -0.25, 0.0});
  EXPECT_EQ(run(*loss, {1, 3}, {1, -infinity, 1}, {DType::kF32, {1, 3}}, {0, 1, 0}).loss, infinity);
  EXPECT_EQ(run(*loss, {1, 3}, {1, -infinity, 1}, {DType::kI32, {1}}, {1}).loss, infinity);
  EXPECT_TRUE(std::isnan(run(*loss, {1, 3}, {1, infinity, 1}, {DType::kI32, {1}}, {0}).loss));
}

// ---- Making losses, and what they refuse -------------------------------------------------------

std::string error_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kBadInput);
    return error.what();
  }
  return "no error";
}

TEST(Losses, AreReadFromSettings) {
  Settings train("train", "a.toml:3");
  train.set("loss", {std::string("softmax_cross_entropy"), "a.toml:4"});
  train.set("label_smoothing", {0.1, "a.toml:5"});
  const auto loss = Loss::make(train);
  train.finish();
  EXPECT_EQ(loss->kind(), "softmax_cross_entropy");
  EXPECT_EQ(loss->options().label_smoothing, 0.1);
  EXPECT_TRUE(loss->classification());
  EXPECT_EQ(loss->target_type(), DType::kI32);
  EXPECT_TRUE(loss->takes_target(DType::kF32));
  EXPECT_FALSE(loss->takes_target(DType::kI64));
  const auto squared = Loss::make({.kind = "mean_squared_error"});
  EXPECT_FALSE(squared->classification());
  EXPECT_EQ(squared->target_type(), DType::kF32);
  EXPECT_TRUE(squared->takes_target(DType::kI32));
}

TEST(Losses, SettingsThatAreRefused) {
  auto message = [](const std::map<std::string, Setting>& settings) {
    Settings train("train", "a.toml:3");
    for (const auto& [key, setting] : settings) train.set(key, setting);
    return error_of([&] {
      Loss::make(train);
      train.finish();
    });
  };
  EXPECT_EQ(message({}), "a.toml:3: train.loss: missing; expected a text");
  EXPECT_EQ(message({{"loss", {std::string("mean_squared_eror"), "a.toml:4"}}}),
            "a.toml:4: train.loss: \"mean_squared_eror\" is not known; did you mean "
            "\"mean_squared_error\"?; valid: \"mean_squared_error\", \"mean_absolute_error\", "
            "\"binary_cross_entropy\", \"softmax_cross_entropy\"");
  EXPECT_EQ(message({{"loss", {std::string("softmax_cross_entropy"), "a.toml:4"}},
                     {"label_smoothing", {1.0, "a.toml:5"}}}),
            "a.toml:5: train.label_smoothing: expected a number in [0, 1), found 1");
  EXPECT_NE(message({{"loss", {std::string("mean_squared_error"), "a.toml:4"}},
                     {"label_smoothing", {0.1, "a.toml:5"}}})
                .find("a.toml:5: train.label_smoothing: unknown key"),
            std::string::npos);
  EXPECT_EQ(error_of([] { Loss::make({.kind = "hinge"}); }), "loss \"hinge\" is not known");
  EXPECT_EQ(error_of([] { Loss::make({.kind = "mean_squared_error", .label_smoothing = 0.1}); }),
            "loss mean_squared_error takes no label_smoothing");
}

TEST(Losses, ShapesThatAreRefused) {
  auto message = [](const char* kind, const TensorType& x, const TensorType& t,
                    const std::vector<TensorType>& weights = {}) {
    return error_of([&] {
      Graph graph;
      const ValueId prediction = graph.input("x", x), target = graph.input("t", t);
      const ValueId weight = weights.empty() ? kNoValue : graph.input("w", weights[0]);
      Loss::make({.kind = kind})->build(graph, prediction, target, weight, 1.0);
    });
  };
  const DType f32 = DType::kF32, i32 = DType::kI32;
  EXPECT_EQ(message("softmax_cross_entropy", {f32, {8, 10}}, {i32, {8, 2}}),
            "loss (softmax_cross_entropy): target (8, 2) does not fit prediction (8, 10), expected "
            "class numbers (8)");
  EXPECT_EQ(message("softmax_cross_entropy", {f32, {8, 10}}, {f32, {8}}),
            "loss (softmax_cross_entropy): target is f32(8), expected class numbers i32(8) or a share of each class f32(8, 10)");
  EXPECT_EQ(
      message("softmax_cross_entropy", {f32, {8, 1}}, {i32, {8}}),
      "loss (softmax_cross_entropy): prediction (8, 1) has 1 classes at its end, expected 2 at "
      "least (for yes or no use binary_cross_entropy)");
  EXPECT_EQ(
      message("softmax_cross_entropy", {f32, {8}}, {i32, {8}}),
      "loss (softmax_cross_entropy): prediction (8) has no classes, expected (batch, classes)");
  EXPECT_EQ(message("mean_squared_error", {f32, {8, 3}}, {f32, {8}}),
            "loss (mean_squared_error): prediction (8, 3) and target (8) differ, expected equal "
            "shapes");
  EXPECT_EQ(message("mean_squared_error", {f32, {8, 1}}, {f32, {8}}), "no error");
  EXPECT_EQ(message("mean_squared_error", {f32, {8, 0}}, {f32, {8, 0}}),
            "loss (mean_squared_error): prediction (8, 0) has samples without elements");
  EXPECT_EQ(message("mean_squared_error", {f32, {}}, {f32, {}}),
            "loss (mean_squared_error): prediction is a scalar, expected (batch, ...)");
  EXPECT_EQ(message("mean_absolute_error", {f32, {8}}, {f32, {8}}, {{f32, {4}}}),
            "loss (mean_absolute_error): weights are f32(4), expected one per sample, f32(8)");
}

}  // namespace
}  // namespace lockstep::testing
