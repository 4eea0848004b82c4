#include "core/passes/mixed_precision.h"

#include <gtest/gtest.h>

#include "core/passes/autodiff.h"
#include "tests/core/pass_values.h"
#include "tests/core/random_graph.h"
#include "tests/core/toy_ops.h"

namespace lockstep {
namespace {

using namespace lockstep::testing;

constexpr double kBf16Rounding = 1.0 / 64;  // a few roundings to 8 bits

TEST(MixedPrecision, OpsFollowTheirTrait) {
  Graph graph;
  const ValueId x = graph.input("x", f32({2, 2})), w = graph.state("w", f32({2, 2}));
  const ValueId low = toy_weigh(graph, x, w, "low");
  const ValueId follow = toy_scale(graph, low, 2, "follow");
  const ValueId flat = view(graph, follow, {4}, 0, "flat");  // as it comes
  const ValueId sum = toy_add(graph, flat, view(graph, x, {4}, 0, "flat_x"), "sum");
  const ValueId full = toy_smooth(graph, sum, 0, "full");
  const ValueId untouched = toy_scale(graph, x, 3, "untouched");
  graph.output("full", full);
  graph.output("sum", sum);
  graph.output("untouched", untouched);
  const Graph after = mixed_precision(graph);
  EXPECT_EQ(after.to_string(),
            "%0 f32(2, 2) = input \"x\"\n"
            "%1 f32(2, 2) = state \"w\"\n"
            "%2 bf16(2, 2) = cast[to=bf16](%0) \"x/bf16\"\n"
            "%3 bf16(2, 2) = cast[to=bf16](%1) \"w/bf16\"\n"
            "%4 bf16(2, 2) = toy_weigh(%2, %3) \"low\"\n"
            "%5 bf16(2, 2) = toy_scale[factor=2](%4) \"follow\"\n"
            "%6 bf16(4) = view[shape=(4)](%5) \"flat\"\n"
            "%7 f32(4) = view[shape=(4)](%0) \"flat_x\"\n"
            "%8 bf16(4) = cast[to=bf16](%7) \"flat_x/bf16\"\n"
            "%9 bf16(4) = toy_add(%6, %8) \"sum\"\n"
            "%10 f32(4) = cast[to=f32](%9) \"sum/f32\"\n"
            "%11 f32(4) = toy_smooth(%10) \"full\"\n"
            "%12 f32(2, 2) = toy_scale[factor=3](%0) \"untouched\"\n"
            "output \"full\" = %11\n"
            "output \"sum\" = %10\n"
            "output \"untouched\" = %12\n");
  expect_equal_values(graph, after, kBf16Rounding);
}

TEST(MixedPrecision, AValueIsCastOnceForAllItsReaders) {
  Graph graph;
  const ValueId x = graph.input("x", f32({2})), w = graph.state("w", f32({2}));
  graph.output("a", toy_weigh(graph, x, w, "a"));
  graph.output("b", toy_weigh(graph, w, x, "b"));
  const Graph after = mixed_precision(graph);
  EXPECT_EQ(after.nodes().size(), 2u + 2 + 2);  // two casts in, two ops, two casts out
  EXPECT_EQ(after.type(after.find_output("a")), f32({2}));
  expect_equal_values(graph, after, kBf16Rounding);
}

TEST(MixedPrecision, StatesStayF32AndAreOverwrittenInPlace) {
  Graph graph;
  const ValueId x = graph.input("x", f32({2})), w = graph.state("w", f32({2}));
  toy_update(graph, w, toy_weigh(graph, x, x, "low"), kNoValue, "update");
  const Graph after = mixed_precision(graph);
  EXPECT_EQ(after.to_string(),
            "%0 f32(2) = input \"x\"\n"
            "%1 f32(2) = state \"w\"\n"
            "%2 bf16(2) = cast[to=bf16](%0) \"x/bf16\"\n"
            "%3 bf16(2) = toy_weigh(%2, %2) \"low\"\n"
            "%4 f32(2) = cast[to=f32](%3) \"low/f32\"\n"
            "%5 f32(2) = toy_update(%1, %4) \"update\"\n");
  expect_equal_values(graph, after, kBf16Rounding);
}

// Overwrites input 0 and would like everything in bf16.
class LowUpdateOp final : public Op {
 public:
  std::string_view name() const override { return "low_update"; }
  std::vector<TensorType> infer(std::span<const TensorType> inputs) const override {
    return {inputs[0]};
  }
  Traits traits() const override { return {.mutates = 1u, .precision = Precision::kLow}; }
};

TEST(MixedPrecision, WhatIsOverwrittenIsNeverACast) {
  Graph graph;
  const ValueId x = graph.input("x", f32({2})), w = graph.state("w", f32({2}));
  graph.add(std::make_shared<LowUpdateOp>(), {w, x}, "update");
  EXPECT_EQ(mixed_precision(graph).to_string(),
            "%0 f32(2) = input \"x\"\n"
            "%1 f32(2) = state \"w\"\n"
            "%2 bf16(2) = cast[to=bf16](%0) \"x/bf16\"\n"
            "%3 f32(2) = low_update(%1, %2) \"update\"\n");
}

TEST(MixedPrecision, PartsAndPacksOfLowValuesFit) {
  Graph graph;
  const ValueId x = graph.input("x", f32({4}));
  const ValueId low = toy_weigh(graph, x, x, "low");
  const ValueId part = view(graph, low, {2}, 1, "part");  // counted in f32 elements: back to f32
  graph.output("y", pack(graph, {low, part, x}, "packed"));
  const Graph after = mixed_precision(graph);
  EXPECT_EQ(after.to_string(),
            "%0 f32(4) = input \"x\"\n"
            "%1 bf16(4) = cast[to=bf16](%0) \"x/bf16\"\n"
            "%2 bf16(4) = toy_weigh(%1, %1) \"low\"\n"
            "%3 f32(4) = cast[to=f32](%2) \"low/f32\"\n"
            "%4 f32(2) = view[shape=(2) offset=1](%3) \"part\"\n"
            "%5 bf16(2) = cast[to=bf16](%4) \"part/bf16\"\n"
            "%6 bf16(10) = pack(%2, %5, %1) \"packed\"\n"
            "%7 f32(10) = cast[to=f32](%6) \"packed/f32\"\n"
            "output \"y\" = %7\n");
  expect_equal_values(graph, after, kBf16Rounding);
}

TEST(MixedPrecision, GradientsOfParametersAreF32) {
  Graph graph;
  const ValueId x = graph.input("x", f32({4})), w = graph.state("w", f32({4}));
  graph.output("loss", toy_mean(graph, toy_weigh(graph, x, w)));
  Graph after = mixed_precision(graph);
  const ValueId loss = after.find_output("loss");
  const ValueId dw =
      differentiate(after, {{loss}}, {{fill(after, f32({}), 1)}}, {{after.find_state("w")}})[0];
  EXPECT_EQ(after.type(dw), f32({4}));
  const auto& producer = after.node(after.value(dw).producer);
  EXPECT_EQ(producer.op->name(), "toy_multiply");  // never rounded to bf16 on its way
}

TEST(MixedPrecision, LeavesAGraphWithoutLowOpsAlone) {
  Graph graph;
  const ValueId x = graph.input("x", f32({4})), low = graph.input("low", bf16({4}));
  graph.output("y", toy_smooth(graph, toy_scale(graph, x, 2)));
  graph.output("z", toy_smooth(graph, low));  // wants f32, but nothing here is to be faster
  EXPECT_EQ(mixed_precision(graph).to_string(), graph.to_string());
}

TEST(MixedPrecision, IntegersAreLeftAlone) {
  Graph graph;
  const ValueId x = graph.input("x", f32({4}));
  const ValueId labels = graph.input("labels", {DType::kI64, {4}, nullptr});
  graph.output("labels", copy(graph, labels));
  graph.output("pack", pack(graph, {labels, labels}));
  graph.output("y", toy_weigh(graph, x, x));
  const Graph after = mixed_precision(graph);
  EXPECT_EQ(after.type(after.find_output("pack")).dtype, DType::kI64);
  expect_equal_values(graph, after, kBf16Rounding);
}

}  // namespace
}  // namespace lockstep
