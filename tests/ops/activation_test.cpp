// The activations: against their definitions in double, at the infinities and NaN, and in place.
#include "ops/activation/activation.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numbers>

#include "core/base/error.h"
#include "ops/register.h"
#include "tests/core/run_graph.h"
#include "tests/ops/op_test.h"
#include "tests/test_device.h"

namespace lockstep::testing {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

double value_of(const Activation& activation, double x) {
  switch (activation.kind) {
    case ActivationKind::kRelu:
      return x > 0 ? x : 0;
    case ActivationKind::kLeakyRelu:
      return x > 0 ? x : activation.negative_slope * x;
    case ActivationKind::kSigmoid:
      return 1 / (1 + std::exp(-x));
    case ActivationKind::kTanh:
      return std::tanh(x);
    case ActivationKind::kGelu:
      return 0.5 * x * std::erfc(-x / std::numbers::sqrt2);
    case ActivationKind::kGeluApproximate: {
      const double inner = std::sqrt(2 / std::numbers::pi) * (x + 0.044715 * x * x * x);
      return 0.5 * x * (1 + std::tanh(inner));
    }
  }
  return kNan;
}

OpCase case_of(const std::string& name, const Activation& activation, const Shape& shape) {
  return {.name = name,
          .op = std::make_shared<ActivationOp>(activation),
          .inputs = {{DType::kF32, shape}},
          .reference =
              [activation](const Tensors& in) {
                Tensors out = {in[0]};
                for (double& value : out[0]) value = value_of(activation, value);
                return out;
              },
          .low = -4,
          .high = 4,
          .keep_off = {0.0}};
}

const std::vector<std::pair<std::string, Activation>>& all() {
  static const std::vector<std::pair<std::string, Activation>> list = {
      {"relu", {ActivationKind::kRelu}},
      {"leaky_relu", {ActivationKind::kLeakyRelu, 0.3}},
      {"leaky_relu of slope 0", {ActivationKind::kLeakyRelu, 0.0}},
      {"sigmoid", {ActivationKind::kSigmoid}},
      {"tanh", {ActivationKind::kTanh}},
      {"gelu", {ActivationKind::kGelu}},
      {"gelu approximate", {ActivationKind::kGeluApproximate}}};
  return list;
}

TEST(Activation, AgreesWithItsDefinition) {
  for (const auto& [name, activation] : all()) {
    check_op(case_of(name + " one", activation, {2, 1}));
    check_op(case_of(name + " odd", activation, {3, 5, 7}));
    check_op(case_of(name + " even", activation, {4, 64}));
    OpCase empty = case_of(name + " empty", activation, {0, 3});
    check_op(empty);
  }
}

// Result and gradient for a cotangent of 1 at single points, in f32.
struct Point {
  double y, dx;
};

Point at(const Activation& function, double x) {
  Graph graph;
  const ValueId in = graph.input("x", {DType::kF32, {1}});
  const ValueId dy = graph.input("dy", {DType::kF32, {1}});
  const ValueId out = activation(graph, in, function);
  graph.output("y", out);
  const ValueId saved = function.gradient_from_output() ? out : in;
  graph.output("dx", graph.add(std::make_shared<ActivationBackwardOp>(function), {dy, saved}));
  auto found = run_graph(graph, test_registry(), test_device(), {{"x", {x}}, {"dy", {1.0}}});
  return {found["y"][0], found["dx"][0]};
}

TEST(Activation, HasLimitsAtTheInfinities) {
  for (const auto& [name, activation] : all()) {
    SCOPED_TRACE(name);
    const bool saturates =
        activation.kind == ActivationKind::kSigmoid || activation.kind == ActivationKind::kTanh;
    const double lowest = activation.kind == ActivationKind::kTanh ? -1.0 : 0.0;
    for (const double size : {1e3, 1e30, kInfinity}) {
      EXPECT_EQ(at(activation, size).y, saturates ? 1.0 : at({ActivationKind::kRelu}, size).y);
      EXPECT_EQ(at(activation, size).dx, saturates ? 0.0 : 1.0);
      if (activation.kind == ActivationKind::kLeakyRelu) continue;
      EXPECT_EQ(at(activation, -size).y, lowest);
      EXPECT_EQ(at(activation, -size).dx, 0.0);
    }
  }
  EXPECT_EQ(at({ActivationKind::kLeakyRelu, 0.5}, -kInfinity).y, -kInfinity);
  EXPECT_EQ(at({ActivationKind::kLeakyRelu, 0.5}, -kInfinity).dx, 0.5);
}

TEST(Activation, NanStaysNan) {
  for (const auto& [name, activation] : all()) {
    EXPECT_TRUE(std::isnan(at(activation, kNan).y)) << name;
  }
}

TEST(Activation, TraitsAndAttributesSayWhatItIs) {
  for (const auto& [name, activation] : all()) {
    const Traits traits = ActivationOp(activation).traits();
    EXPECT_TRUE(traits.elementwise);
    EXPECT_EQ(traits.may_overwrite, 0);
    EXPECT_EQ(traits.keeps_zero, value_of(activation, 0.0) == 0.0) << name;
  }
  EXPECT_EQ(ActivationOp({ActivationKind::kLeakyRelu, 0.25}).to_string(),
            "leaky_relu[negative_slope=0.25]");
  EXPECT_EQ(ActivationOp({ActivationKind::kGeluApproximate}).to_string(), "gelu[approximate=true]");
}

// In the memory of the input, by several threads, and in memory that is not aligned.
TEST(Activation, ComputesInPlaceAndInPieces) {
  KernelRegistry of_cpu;
  register_activation_cpu(of_cpu);
  CpuDevice three(3);
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    constexpr std::int64_t kCount = 100001;  // several threads' worth, odd
    const TensorType type{dtype, {kCount}};
    Tensors values(2);
    for (std::int64_t i = 0; i < kCount; ++i) {
      values[0].push_back(static_cast<float>(i % 1999) / 200 - 5);
      values[1].push_back(static_cast<float>(i % 911) / 911);
    }
    for (const auto& [name, activation] : all()) {
      SCOPED_TRACE(name);
      auto expect_equal = [&](const Op& op, const std::vector<TensorType>& in) {
        auto run = [&](const OpRun& how) { return run_op(op, how, test_registry(), test_device(), values); };
        const Tensors alone = run({in, {type}});
        EXPECT_EQ(run({.inputs = in, .outputs = {type}, .in_place = true}), alone);
        EXPECT_EQ(run({.inputs = in, .outputs = {type}, .offset = 4}), alone);
        const OpRun in_place{.inputs = in, .outputs = {type}, .in_place = true};
        EXPECT_EQ(run_op(op, in_place, of_cpu, three, values), run_op(op, {in, {type}}, of_cpu, three, values));
      };
      expect_equal(ActivationOp(activation), {type});
      expect_equal(ActivationBackwardOp(activation), {type, type});
    }
  }
}

TEST(Activation, RefusesWhatItCannotDo) {
  Graph graph;
  const ValueId x = graph.input("x", {DType::kI32, {2}});
  try {
    relu(graph, x, "r");
    FAIL() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "r (relu): input is i32(2), expected f32 or bf16");
  }
  try {
    leaky_relu(graph, x, -1.0);
    FAIL() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "leaky_relu: negative_slope is -1, expected 0 or more");
  }
}

}  // namespace
}  // namespace lockstep::testing
