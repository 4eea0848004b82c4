#include "core/passes/layout.h"

#include <gtest/gtest.h>

#include "core/base/error.h"
#include "core/device/cpu_device.h"
#include "core/plan/executor.h"
#include "core/plan/lower.h"
#include "tests/core/pass_values.h"
#include "tests/core/random_graph.h"
#include "tests/core/run_graph.h"
#include "tests/core/toy_ops.h"

namespace lockstep {
namespace {

using namespace lockstep::testing;

// The toy kernel of toy_smooth likes its values reversed.
class LayoutTest : public ::testing::Test {
 protected:
  Graph with_layouts(const Graph& graph) {
    Graph after = choose_layouts(graph, registry_, device_, toy_reorder);
    after.verify();
    return after;
  }

  CpuDevice device_;
  KernelRegistry registry_ = toy_registry();
};

TEST_F(LayoutTest, ValuesAreReorderedWhereNeighboursDisagree) {
  Graph graph;
  const ValueId x = graph.input("x", f32({4}));
  graph.output("y", toy_smooth(graph, x, 0, "y"));
  const Graph after = with_layouts(graph);
  EXPECT_EQ(after.to_string(),
            "%0 f32(4) = input \"x\"\n"
            "%1 f32(4):reversed = toy_reorder[reversed](%0) \"x/reorder\"\n"
            "%2 f32(4):reversed = toy_smooth(%1) \"y\"\n"
            "%3 f32(4) = toy_reorder[row-major](%2) \"y/reorder\"\n"
            "output \"y\" = %3\n");
  expect_equal_values(graph, after);
}

TEST_F(LayoutTest, ElementwiseNodesTakeTheLayoutOfTheirInputs) {
  Graph graph;
  const ValueId x = graph.input("x", f32({4}));
  const ValueId a = toy_smooth(graph, x, 0, "a");
  const ValueId b = toy_shift(graph, a, 1, "b");
  const ValueId c = toy_add(graph, x, b, "c");  // x is reordered for it; that was done before
  graph.output("y", toy_smooth(graph, c, 0, "d"));
  const Graph after = with_layouts(graph);
  EXPECT_EQ(after.to_string(),
            "%0 f32(4) = input \"x\"\n"
            "%1 f32(4):reversed = toy_reorder[reversed](%0) \"x/reorder\"\n"
            "%2 f32(4):reversed = toy_smooth(%1) \"a\"\n"
            "%3 f32(4):reversed = toy_shift[by=1](%2) \"b\"\n"
            "%4 f32(4):reversed = toy_add(%1, %3) \"c\"\n"
            "%5 f32(4):reversed = toy_smooth(%4) \"d\"\n"
            "%6 f32(4) = toy_reorder[row-major](%5) \"d/reorder\"\n"
            "output \"y\" = %6\n");
  expect_equal_values(graph, after);
}

TEST_F(LayoutTest, PaddedLayoutsGoOnlyThroughOpsThatKeepZero) {
  Graph graph;
  const ValueId x = graph.input("x", f32({4}));
  const ValueId a = toy_smooth(graph, x, 3, "a");
  const ValueId kept = toy_scale(graph, a, 2, "kept");
  graph.output("y", toy_shift(graph, kept, 1, "left"));
  const Graph after = with_layouts(graph);
  EXPECT_EQ(after.to_string(),
            "%0 f32(4) = input \"x\"\n"
            "%1 f32(4):reversed+3 = toy_reorder[reversed+3](%0) \"x/reorder\"\n"
            "%2 f32(4):reversed+3 = toy_smooth[padding=3](%1) \"a\"\n"
            "%3 f32(4):reversed+3 = toy_scale[factor=2](%2) \"kept\"\n"
            "%4 f32(4) = toy_reorder[row-major](%3) \"kept/reorder\"\n"
            "%5 f32(4) = toy_shift[by=1](%4) \"left\"\n"
            "output \"y\" = %5\n");
  expect_equal_values(graph, after);
}

TEST_F(LayoutTest, EverythingElseIsRowMajor) {
  Graph graph;
  const ValueId x = graph.input("x", f32({4})), w = graph.state("w", f32({4}));
  const ValueId a = toy_smooth(graph, x, 0, "a");
  const ValueId low = cast(graph, a, DType::kBF16, "low");  // another type has another layout
  const ValueId flat = view(graph, a, {2, 2}, 0, "flat");
  toy_update(graph, w, a, kNoValue, "update");
  graph.output("low", low);
  graph.output("flat", flat);
  graph.output("packed", pack(graph, {a, a}, "packed"));
  const Graph after = with_layouts(graph);
  EXPECT_EQ(after.to_string(),
            "%0 f32(4) = input \"x\"\n"
            "%1 f32(4) = state \"w\"\n"
            "%2 f32(4):reversed = toy_reorder[reversed](%0) \"x/reorder\"\n"
            "%3 f32(4):reversed = toy_smooth(%2) \"a\"\n"
            "%4 f32(4) = toy_reorder[row-major](%3) \"a/reorder\"\n"
            "%5 bf16(4) = cast[to=bf16](%4) \"low\"\n"
            "%6 f32(2, 2) = view[shape=(2, 2)](%4) \"flat\"\n"
            "%7 f32(4) = toy_update(%1, %4) \"update\"\n"
            "%8 f32(8) = pack(%4, %4) \"packed\"\n"
            "output \"low\" = %5\n"
            "output \"flat\" = %6\n"
            "output \"packed\" = %8\n");
  expect_equal_values(graph, after);
}

TEST_F(LayoutTest, AStateIsReorderedOnceForAllMicrobatches) {
  Graph graph;
  const ValueId w = graph.state("w", f32({4}));
  for (int microbatch = 0; microbatch < 4; ++microbatch) {
    graph.output("y" + std::to_string(microbatch), toy_smooth(graph, w));
  }
  const Graph after = with_layouts(graph);
  int reorders = 0;
  for (const Node& node : after.nodes()) {
    reorders += node.op->name() == "toy_reorder" && node.inputs[0] == 0;
  }
  EXPECT_EQ(reorders, 1);
  expect_equal_values(graph, after);
}

TEST_F(LayoutTest, AKernelIsAskedOnceForEqualNodes) {
  int asked = 0;
  KernelRegistry registry;
  KernelEntry entry = *registry_.find("toy_smooth", DeviceKind::kCpu);
  entry.layouts = [&asked, layouts = entry.layouts](const KernelRequest& request) {
    ++asked;
    return layouts(request);
  };
  registry.add("toy_smooth", DeviceKind::kCpu, entry);
  Graph graph;
  const ValueId x = graph.input("x", f32({4})), y = graph.input("y", f32({4}));
  const ValueId z = graph.input("z", f32({5}));
  for (const ValueId value : {x, y, x, z}) toy_smooth(graph, value);
  choose_layouts(graph, registry, device_, toy_reorder);
  EXPECT_EQ(asked, 2);
}

TEST_F(LayoutTest, LeavesAGraphWithoutWishesAlone) {
  Graph graph;
  const ValueId x = graph.input("x", f32({4})), w = graph.state("w", f32({4}));
  const ValueId y = toy_shift(graph, toy_multiply(graph, x, w), 1);
  graph.output("y", toy_split(graph, y)[0]);
  EXPECT_EQ(with_layouts(graph).to_string(), graph.to_string());
}

TEST_F(LayoutTest, AKernelThatCannotChooseNamesTheNode) {
  KernelRegistry registry;
  KernelEntry entry = *registry_.find("toy_smooth", DeviceKind::kCpu);
  entry.layouts = [](const KernelRequest&) -> std::optional<LayoutChoice> {
    bad_input("too many dimensions");
  };
  registry.add("toy_smooth", DeviceKind::kCpu, entry);
  Graph graph;
  toy_smooth(graph, graph.input("x", f32({4})), 0, "conv1");
  try {
    choose_layouts(graph, registry, device_, toy_reorder);
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "conv1: too many dimensions");
  }
}

TEST_F(LayoutTest, WhatAKernelOverwritesKeepsItsLayout) {
  KernelRegistry registry;
  KernelEntry entry = *registry_.find("toy_update", DeviceKind::kCpu);
  entry.layouts = [](const KernelRequest& request) {
    const auto layout = std::make_shared<ReversedLayout>(request.inputs[0], 0);
    return LayoutChoice{{layout, layout}, {layout}};
  };
  registry.add("toy_update", DeviceKind::kCpu, entry);
  Graph graph;
  toy_update(graph, graph.state("w", f32({4})), graph.input("x", f32({4})), kNoValue, "update");
  try {
    choose_layouts(graph, registry, device_, toy_reorder);
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(),
                 "update: its kernel overwrites input 0 and wants it in another layout");
  }
}

// By the interpreter and, as overwriting and packs meet layouts there, by a Plan.
TEST_F(LayoutTest, RandomGraphsKeepTheirValues) {
  KernelCache kernels(registry_, device_);
  int changed = 0;
  for (std::uint32_t seed = 0; seed < 300; ++seed) {
    SCOPED_TRACE(::testing::Message() << "seed " << seed);
    const Graph graph = random_graph(seed, {.nodes = 40});
    const Graph after = with_layouts(graph);
    expect_equal_values(graph, after);
    changed += after.nodes().size() > graph.nodes().size();
    StateStore states(device_);
    Arena arena(device_);
    Executor executor(lower(after, kernels), states, arena);
    const auto feeds = random_feeds(graph, 1);
    const auto expected = run_graph(graph, registry_, device_, feeds);
    const auto write = [&](void* to, const PlanValue& value) {
      const Bytes bytes = encode(feeds.at(value.name), value.type.dtype);
      std::copy(bytes.begin(), bytes.end(), static_cast<std::byte*>(to));
    };
    for (const PlanValue& input : executor.plan().inputs) write(executor.input(input.name), input);
    for (const PlanValue& state : executor.plan().states) write(states.data(state.name), state);
    std::fill_n(arena.data(), arena.bytes(), std::byte{0xff});
    executor.run();
    for (const PlanValue& output : executor.plan().outputs) {
      ASSERT_EQ(decode(executor.output(output.name), output.type), expected.at(output.name))
          << output.name << "\n"
          << after.to_string();
    }
  }
  EXPECT_GT(changed, 200);
}

}  // namespace
}  // namespace lockstep
