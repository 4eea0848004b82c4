#include <gtest/gtest.h>

#include "core/builtin/reorder.h"
#include "core/passes/eliminate_dead.h"
#include "core/passes/fuse.h"
#include "core/passes/layout.h"
#include "ops/register.h"
#include "tests/core/run_graph.h"
#include "tests/ops/conv2d_cases.h"
#include "tests/ops/conv2d_network.h"
#include "tests/test_device.h"

namespace lockstep::testing {
namespace {

TEST(Conv2dBf16, AgreesWithNaiveLoops) {
  for (const bool with_bias : {true, false}) {
    auto cases = convolution_cases(with_bias);
    for (OpCase& c : cases) c.bf16 = true;
    check_ops(cases);
  }
}

TEST(Conv2dBf16, ANetworkAgreesWithThatOfF32) {
  for (const std::int64_t groups : {1, 2}) {
    const Network wide = two_convolutions(DType::kF32, 72, 13, groups), low = two_convolutions(DType::kBF16, 72, 13, groups);
    const Graph fused = eliminate_dead(fuse(low.graph, fusion_patterns()));
    const auto expected = run_graph(wide.graph, test_registry(), test_device(), wide.feeds);
    expect_equal_outputs(expected, run_graph(fused, test_registry(), test_device(), low.feeds), 2e-2);
    const Graph placed = choose_layouts(fused, test_registry(), test_device(),
                                        [](Graph& to, ValueId value, std::shared_ptr<const Layout> layout) {
                                          return reorder(to, value, std::move(layout));
                                        });
    expect_equal_outputs(expected, run_graph(placed, test_registry(), test_device(), low.feeds), 2e-2);
  }
}

}  // namespace
}  // namespace lockstep::testing
