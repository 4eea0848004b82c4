#include <gtest/gtest.h>

#include "core/base/error.h"
#include "core/builtin/builtin.h"
#include "core/builtin/reorder.h"
#include "core/device/cpu_device.h"
#include "core/passes/autodiff.h"
#include "core/passes/eliminate_dead.h"
#include "core/passes/fuse.h"
#include "core/passes/layout.h"
#include "ops/bias/bias.h"
#include "ops/register.h"
#include "tests/core/run_graph.h"
#include "tests/ops/conv2d_cases.h"
#include "tests/ops/conv2d_network.h"
#include "tests/test_device.h"

namespace lockstep {
namespace {

using namespace testing;

TEST(Conv2d, AgreesWithNaiveLoops) {
  check_ops(convolution_cases(false));
}

TEST(Conv2d, AgreesWithNaiveLoopsWithBias) {
  check_ops(convolution_cases(true));
}

TEST(Conv2d, FusedWithBiasAndActivationEqualsUnfused) {
  for (const ActivationKind kind :
       {ActivationKind::kRelu, ActivationKind::kLeakyRelu, ActivationKind::kSigmoid, ActivationKind::kTanh,
        ActivationKind::kGelu, ActivationKind::kGeluApproximate}) {
    for (const bool with_bias : {true, false}) {
      Graph graph;
      const ValueId x = graph.input("x", {DType::kF32, {2, 5, 5, 3}, nullptr});
      const ValueId w = graph.input("w", {DType::kF32, {3, 3, 3, 4}, nullptr});
      ValueId y = conv2d(graph, x, w, {});
      if (with_bias) y = bias(graph, y, graph.input("b", {DType::kF32, {4}, nullptr}));
      graph.output("y", activation(graph, y, {kind}));
      const Graph fused = eliminate_dead(fuse(graph, conv2d_fusions()));
      EXPECT_EQ(fused.nodes().size(), 1u) << fused.to_string();
      Feeds feeds{{"x", numbers(150)}, {"w", numbers(108)}};
      if (with_bias) feeds["b"] = numbers(4);
      const auto plain = run_graph(graph, test_registry(), test_device(), feeds).at("y");
      const auto one = run_graph(fused, test_registry(), test_device(), feeds).at("y");
      for (std::size_t i = 0; i < plain.size(); ++i) EXPECT_NEAR(one[i], plain[i], 1e-5);
    }
  }
}

int count(const Graph& graph, const std::string& op) {
  int n = 0;
  for (const Node& node : graph.nodes()) n += node.op->name() == op;
  return n;
}

TEST(Conv2d, TheGradientOfTheBiasIsFusedAndValuesStay) {
  const Network n = two_convolutions(DType::kF32, 20, 5);
  const Graph fused = eliminate_dead(fuse(n.graph, fusion_patterns()));
  fused.verify();
  EXPECT_EQ(count(n.graph, "bias_backward"), 2);
  EXPECT_EQ(count(fused, "bias_backward"), 0);
  EXPECT_EQ(count(fused, "bias"), 0);
  EXPECT_EQ(count(fused, "relu"), 0);
  expect_equal_outputs(run_graph(n.graph, test_registry(), test_device(), n.feeds),
                       run_graph(fused, test_registry(), test_device(), n.feeds), 1e-5);
}

// More rows, columns and depth than a block of the direct kernels has, and gradients in several pieces.
TEST(Conv2d, LargeOnesAgreeWithTheCpu) {
  KernelRegistry registry;
  register_cpu_kernels(registry);
  CpuDevice device;
  for (const std::int64_t groups : {1, 2}) {
    const Network n = two_convolutions(DType::kF32, 72, 33, groups);
    expect_equal_outputs(run_graph(n.graph, registry, device, n.feeds),
                         run_graph(n.graph, test_registry(), test_device(), n.feeds), 1e-5);
  }
}

TEST(Conv2d, InTheLayoutsThatItsKernelsLike) {
  const Network n = two_convolutions(DType::kF32, 20, 5);
  const Graph fused = eliminate_dead(fuse(n.graph, fusion_patterns()));
  const Graph placed = choose_layouts(fused, test_registry(), test_device(),
                                      [](Graph& to, ValueId value, std::shared_ptr<const Layout> layout) {
                                        return reorder(to, value, std::move(layout));
                                      });
  placed.verify();
  // On a GPU each weight and each gradient of a weight is transposed once.
  if (test_device().kind() == DeviceKind::kCuda) {
    EXPECT_EQ(count(placed, "reorder"), 4);
  }
  expect_equal_outputs(run_graph(n.graph, test_registry(), test_device(), n.feeds),
                       run_graph(placed, test_registry(), test_device(), n.feeds), 1e-5);
}

TEST(Conv2d, NoImagesGiveNoGradient) {
  Graph graph;
  const ValueId x = graph.input("x", {DType::kF32, {0, 4, 4, 3}});
  const ValueId w = graph.input("w", {DType::kF32, {3, 3, 3, 2}});
  const ValueId y = conv2d(graph, x, w, {});
  const ValueId dy = graph.input("dy", graph.type(y));
  graph.output("dw", differentiate(graph, std::vector{y}, std::vector{dy}, std::vector{w})[0]);
  const auto result = run_graph(graph, test_registry(), test_device(), {{"x", {}}, {"w", numbers(54)}, {"dy", {}}});
  EXPECT_EQ(result.at("dw"), std::vector<double>(54, 0.0));
}

TEST(Conv2d, ErrorsSayWhatDoesNotFit) {
  Graph graph;
  const ValueId x = graph.input("x", {DType::kF32, {1, 4, 4, 3}, nullptr});
  const ValueId w = graph.input("w", {DType::kF32, {3, 3, 2, 8}, nullptr});
  try {
    conv2d(graph, x, w, {}, "conv1");
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(),
                 "conv1 (conv2d): weight (3, 3, 2, 8) needs 2 input channels, input has 3");
  }
}

}  // namespace
}  // namespace lockstep
