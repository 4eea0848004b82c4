#include <gtest/gtest.h>

#include "core/base/error.h"
#include "core/device/cpu_device.h"
#include "core/passes/eliminate_dead.h"
#include "core/passes/fuse.h"
#include "ops/bias/bias.h"
#include "ops/register.h"
#include "tests/core/run_graph.h"
#include "tests/ops/conv2d_cases.h"

namespace lockstep {
namespace {

using namespace testing;

TEST(Conv2d, AgreesWithNaiveLoops) { check_ops(convolution_cases(false)); }

TEST(Conv2d, AgreesWithNaiveLoopsWithBias) { check_ops(convolution_cases(true)); }

TEST(Conv2d, FusedWithBiasAndActivationEqualsUnfused) {
  Graph graph;
  const ValueId x = graph.input("x", {DType::kF32, {2, 5, 5, 3}, nullptr});
  const ValueId w = graph.input("w", {DType::kF32, {3, 3, 3, 4}, nullptr});
  const ValueId b = graph.input("b", {DType::kF32, {4}, nullptr});
  graph.output("y", relu(graph, bias(graph, conv2d(graph, x, w, {}), b)));
  const Graph fused = eliminate_dead(fuse(graph, conv2d_fusions()));
  EXPECT_EQ(fused.nodes().size(), 1u) << fused.to_string();
  std::map<std::string, std::vector<double>> feeds;
  for (const auto& [name, count] : {std::pair("x", 150), std::pair("w", 108), std::pair("b", 4)}) {
    for (int i = 0; i < count; ++i) feeds[name].push_back(((i * 37) % 19 - 9) / 9.0);
  }
  KernelRegistry registry;
  register_cpu_kernels(registry);
  CpuDevice device;
  const auto plain = run_graph(graph, registry, device, feeds).at("y");
  const auto one = run_graph(fused, registry, device, feeds).at("y");
  for (std::size_t i = 0; i < plain.size(); ++i) EXPECT_NEAR(one[i], plain[i], 1e-5);
}

TEST(Conv2d, ErrorsSayWhatDoesNotFit) {
  Graph graph;
  const ValueId x = graph.input("x", {DType::kF32, {1, 4, 4, 3}, nullptr});
  const ValueId w = graph.input("w", {DType::kF32, {3, 3, 2, 8}, nullptr});
  try {
    conv2d(graph, x, w, {}, "conv1");
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "conv1 (conv2d): weight (3, 3, 2, 8) needs 2 input channels, input has 3");
  }
}

}  // namespace
}  // namespace lockstep
