// What lowering decides: which nodes become steps, and what lies where.
#include "core/plan/lower.h"

#include <gtest/gtest.h>

#include <chrono>

#include "core/base/error.h"
#include "core/device/cpu_device.h"
#include "tests/core/toy_ops.h"

namespace lockstep {
namespace {

using namespace lockstep::testing;
using Space = BufferRef::Space;

class LowerTest : public ::testing::Test {
 protected:
  Plan lowered() {
    graph_.verify();
    return lower(graph_, kernels_);
  }

  static std::vector<std::string> names(const Plan& plan) {
    std::vector<std::string> out;
    for (const Step& step : plan.steps) out.push_back(step.name);
    return out;
  }
  static const Step& step(const Plan& plan, const std::string& name) {
    for (const Step& step : plan.steps) {
      if (step.name == name) return step;
    }
    broken_invariant("no step ", name);
  }
  static bool same_place(const BufferRef& a, const BufferRef& b) {
    return a.space == b.space && a.index == b.index && a.offset == b.offset;
  }

  CpuDevice device_;
  KernelRegistry registry_ = toy_registry();
  KernelCache kernels_{registry_, device_};
  Graph graph_;
};

using Names = std::vector<std::string>;

TEST_F(LowerTest, NodesBecomeStepsInOrderAndValuesHavePlaces) {
  const ValueId x = graph_.input("x", f32({4})), w = graph_.state("w", f32({4}));
  const ValueId y = toy_multiply(graph_, x, w, "y");
  graph_.output("mean", toy_mean(graph_, y, "m"));
  const Plan plan = lowered();
  EXPECT_EQ(names(plan), (Names{"y", "m"}));
  ASSERT_EQ(plan.inputs.size(), 1u);
  ASSERT_EQ(plan.states.size(), 1u);
  ASSERT_EQ(plan.outputs.size(), 1u);
  EXPECT_EQ(plan.inputs[0].name, "x");
  EXPECT_EQ(plan.states[0].name, "w");
  EXPECT_EQ(plan.outputs[0].name, "mean");
  EXPECT_EQ(plan.steps[0].inputs[0].space, Space::kInput);
  EXPECT_EQ(plan.steps[0].inputs[1].space, Space::kState);
  EXPECT_EQ(plan.steps[0].outputs[0].space, Space::kArena);
  EXPECT_TRUE(same_place(plan.steps[1].inputs[0], plan.steps[0].outputs[0]));
  EXPECT_TRUE(same_place(plan.outputs[0].where, plan.steps[1].outputs[0]));
  EXPECT_EQ(plan.input_bytes(), 16u);
  EXPECT_EQ(plan.state_bytes(), 16u);
  EXPECT_EQ(plan.arena_bytes, 2 * kMemoryAlignment);
  EXPECT_EQ(plan.largest_live_bytes, 2 * kMemoryAlignment);
  EXPECT_EQ(plan.flops(), 5);
  EXPECT_EQ(plan.bytes_moved(), 3 * 16u + 16 + 4);
}

TEST_F(LowerTest, AValueReadTwiceCountsOnceInTheBytes) {
  const ValueId x = graph_.input("x", f32({4}));
  graph_.output("y", toy_add(graph_, x, x, "y"));
  EXPECT_EQ(lowered().bytes_moved(), 32u);
}

TEST_F(LowerTest, ViewsArePlacesInsideOtherBuffers) {
  const ValueId x = graph_.input("x", f32({2, 6}));
  const ValueId part = view(graph_, view(graph_, x, {12}), {4}, 5, "part");
  const ValueId y = toy_scale(graph_, part, 2, "y");
  graph_.output("y", y);
  graph_.output("part", view(graph_, y, {2}, 1, "end"));
  graph_.output("input part", part);
  const Plan plan = lowered();
  EXPECT_EQ(names(plan), (Names{"y"}));
  EXPECT_EQ(plan.steps[0].inputs[0].space, Space::kInput);
  EXPECT_EQ(plan.steps[0].inputs[0].offset, 5 * sizeof(float));
  EXPECT_EQ(plan.outputs[1].where.offset, plan.outputs[0].where.offset + sizeof(float));
  EXPECT_EQ(plan.outputs[2].where.space, Space::kInput);
}

TEST_F(LowerTest, AnInputThatDiesIsOverwritten) {
  const ValueId x = graph_.input("x", f32({64}));
  const ValueId a = toy_shift(graph_, x, 1, "a");  // not in the memory of an input
  const ValueId b = toy_scale(graph_, a, 2, "b");
  graph_.output("c", toy_scale(graph_, b, 3, "c"));
  const Plan plan = lowered();
  EXPECT_EQ(plan.steps[0].outputs[0].space, Space::kArena);
  EXPECT_TRUE(same_place(step(plan, "b").outputs[0], step(plan, "a").outputs[0]));
  EXPECT_TRUE(same_place(step(plan, "c").outputs[0], step(plan, "a").outputs[0]));
  EXPECT_EQ(plan.arena_bytes, 64 * sizeof(float));
}

// An input that is read later, through a view, as an output, or twice by the node, is left alone.
TEST_F(LowerTest, AnInputThatIsStillNeededIsNotOverwritten) {
  const ValueId x = graph_.input("x", f32({64}));
  const ValueId read_later = toy_shift(graph_, x, 1, "read_later");
  const ValueId a = toy_scale(graph_, read_later, 2, "a");
  const ValueId viewed = toy_shift(graph_, x, 2, "viewed");
  const ValueId part = view(graph_, viewed, {8}, 8, "part");
  const ValueId b = toy_scale(graph_, viewed, 2, "b");
  const ValueId shown = toy_shift(graph_, x, 3, "shown");
  const ValueId c = toy_scale(graph_, shown, 2, "c");
  const ValueId twice = toy_shift(graph_, x, 4, "twice");
  const ValueId d = toy_add(graph_, twice, twice, "d");
  const ValueId reshaped = toy_shift(graph_, x, 5, "reshaped");
  const ValueId e = toy_add(graph_, view(graph_, reshaped, {8, 8}),
                            view(graph_, view(graph_, reshaped, {4, 16}), {8, 8}), "e");
  graph_.output("shown", shown);
  graph_.output("part", toy_mean(graph_, part));
  graph_.output("read_later", toy_mean(graph_, read_later));
  for (const ValueId value : {a, b, c, d, e}) graph_.output(graph_.value(value).name, value);
  const Plan plan = lowered();
  const auto place = [&](const char* name) { return step(plan, name).outputs[0]; };
  EXPECT_FALSE(same_place(place("a"), place("read_later")));
  EXPECT_FALSE(same_place(place("b"), place("viewed")));
  EXPECT_FALSE(same_place(place("c"), place("shown")));
  EXPECT_FALSE(same_place(place("d"), place("twice")));
  EXPECT_FALSE(same_place(place("e"), place("reshaped")));
}

TEST_F(LowerTest, AReshapedInputThatDiesIsOverwritten) {
  const ValueId x = graph_.input("x", f32({64}));
  const ValueId a = toy_shift(graph_, x, 1, "a");
  graph_.output("b", toy_scale(graph_, view(graph_, a, {8, 8}), 2, "b"));
  const Plan plan = lowered();
  EXPECT_TRUE(same_place(step(plan, "b").outputs[0], step(plan, "a").outputs[0]));
}

TEST_F(LowerTest, APartOfAValueIsNotOverwritten) {
  const ValueId x = graph_.input("x", f32({64}));
  const ValueId a = toy_shift(graph_, x, 1, "a");
  graph_.output("b", toy_scale(graph_, view(graph_, a, {8}, 0, "part"), 2, "b"));
  const Plan plan = lowered();
  EXPECT_FALSE(same_place(step(plan, "b").outputs[0], step(plan, "a").outputs[0]));
}

TEST_F(LowerTest, AnInputInAnotherLayoutIsNotOverwritten) {
  const ValueId x = graph_.input("x", f32({64}));
  const ValueId a = toy_shift(graph_, x, 1, "a");
  const ValueId b = toy_scale(graph_, a, 2, "b");
  graph_.set_layout(b, std::make_shared<ReversedLayout>(graph_.type(b), 0));
  graph_.output("c", toy_reorder(graph_, b, nullptr));
  const Plan plan = lowered();
  EXPECT_FALSE(same_place(step(plan, "b").outputs[0], step(plan, "a").outputs[0]));
}

TEST_F(LowerTest, TheInputsOfAPackAreComputedInPlace) {
  const ValueId x = graph_.input("x", f32({3}));
  const ValueId a = toy_shift(graph_, x, 1, "a");
  const ValueId b = toy_shift(graph_, x, 2, "b");
  const ValueId reshaped = view(graph_, view(graph_, b, {3, 1}), {1, 3});
  const ValueId packed = pack(graph_, {a, reshaped}, "packed");
  graph_.output("packed", packed);
  graph_.output("b", b);
  const Plan plan = lowered();
  EXPECT_EQ(names(plan), (Names{"a", "b"}));
  EXPECT_TRUE(same_place(plan.outputs[0].where, step(plan, "a").outputs[0]));
  EXPECT_EQ(step(plan, "b").outputs[0].offset, plan.outputs[0].where.offset + 3 * sizeof(float));
  EXPECT_TRUE(same_place(plan.outputs[1].where, step(plan, "b").outputs[0]));
}

TEST_F(LowerTest, APackRunsWhereAnInputCannotBeComputedInPlace) {
  const ValueId x = graph_.input("x", f32({3}));
  const ValueId a = toy_shift(graph_, x, 1, "a");
  const ValueId part = view(graph_, toy_shift(graph_, x, 2, "b"), {2}, 1, "part");
  graph_.output("twice", pack(graph_, {a, a}, "twice"));
  graph_.output("again", pack(graph_, {a}, "again"));
  graph_.output("input", pack(graph_, {x}, "input"));
  graph_.output("part", pack(graph_, {part}, "part_pack"));
  graph_.output("nested",
                pack(graph_, {pack(graph_, {toy_scale(graph_, x, 2, "c")}, "inner"), x}, "nested"));
  const Plan plan = lowered();
  EXPECT_EQ(names(plan), (Names{"a", "b", "twice", "again", "input", "part_pack", "c", "nested"}));
}

TEST_F(LowerTest, APackedValueThatIsOverwrittenKeepsItsOwnMemory) {
  const ValueId x = graph_.input("x", f32({3}));
  const ValueId a = toy_shift(graph_, x, 1, "a");
  const ValueId packed = pack(graph_, {a}, "packed");
  graph_.output("new", toy_update(graph_, a, x, kNoValue, "update")[0]);
  graph_.output("packed", packed);
  const Plan plan = lowered();
  EXPECT_EQ(names(plan), (Names{"a", "packed", "update"}));
  EXPECT_FALSE(same_place(plan.outputs[0].where, plan.outputs[1].where));
}

TEST_F(LowerTest, APackThatIsOverwrittenSparesInputsThatAreReadLater) {
  const ValueId x = graph_.input("x", f32({3})), y = graph_.input("y", f32({6}));
  const ValueId later = toy_shift(graph_, x, 1, "later"),
                sooner = toy_shift(graph_, x, 2, "sooner");
  const ValueId packed = pack(graph_, {later, sooner}, "packed");
  graph_.output("sooner", toy_mean(graph_, sooner, "mean"));
  graph_.output("new", toy_update(graph_, packed, y, kNoValue, "update")[0]);
  graph_.output("later", toy_mean(graph_, later));
  const Plan plan = lowered();
  const BufferRef pack_place = step(plan, "packed").outputs[0];
  EXPECT_FALSE(same_place(step(plan, "later").outputs[0], pack_place));
  EXPECT_EQ(step(plan, "sooner").outputs[0].offset, pack_place.offset + 3 * sizeof(float));
}

TEST_F(LowerTest, ASumOfPacksIsComputedInTheFirst) {
  const ValueId x = graph_.input("x", f32({16}));
  const auto gradients = [&](double by) {
    return pack(graph_, {toy_shift(graph_, x, by), toy_shift(graph_, x, -by)}, "packed");
  };
  const ValueId first = gradients(1), second = gradients(2);
  graph_.output("sum", accumulate(graph_, first, second, "sum"));
  const Plan plan = lowered();
  EXPECT_EQ(plan.steps.size(), 5u);
  EXPECT_TRUE(same_place(step(plan, "sum").outputs[0], step(plan, "sum").inputs[0]));
  EXPECT_EQ(plan.arena_bytes, 2 * 32 * sizeof(float));
}

TEST_F(LowerTest, NewValuesOfStatesLieInTheStates) {
  const ValueId w = graph_.state("w", f32({8})), m = graph_.state("m", f32({4}));
  const ValueId x = graph_.input("x", f32({4}));
  const ValueId chunk = view(graph_, w, {4}, 4, "chunk");
  const auto updated = toy_update(graph_, chunk, x, m, "update");
  graph_.output("chunk", updated[0]);
  graph_.output("moment", updated[1]);
  const Plan plan = lowered();
  EXPECT_EQ(names(plan), (Names{"update"}));
  EXPECT_EQ(plan.outputs[0].where.space, Space::kState);
  EXPECT_EQ(plan.outputs[0].where.index, 0);
  EXPECT_EQ(plan.outputs[0].where.offset, 4 * sizeof(float));
  EXPECT_EQ(plan.outputs[1].where.space, Space::kState);
  EXPECT_EQ(plan.outputs[1].where.index, 1);
  EXPECT_EQ(plan.arena_bytes, 0u);
}

TEST_F(LowerTest, WorkspaceLivesOnlyDuringItsStep) {
  const ValueId x = graph_.input("x", f32({64}));
  const ValueId a = toy_smooth(graph_, x, 0, "a");
  graph_.output("b", toy_smooth(graph_, a, 0, "b"));
  const Plan plan = lowered();
  EXPECT_EQ(plan.steps[0].workspace.space, Space::kArena);
  EXPECT_EQ(plan.arena_bytes, 64 * (sizeof(double) + 2 * sizeof(float)));
  EXPECT_EQ(plan.largest_live_bytes, plan.arena_bytes);
  EXPECT_NE(plan.steps[1].workspace.offset, plan.steps[1].inputs[0].offset);
}

constexpr std::int64_t kMuch = 2'000'000;  // elements that take long

TEST_F(LowerTest, AnExchangeRunsBesideTheWorkThatDoesNotNeedIt) {
  const ValueId x = graph_.input("x", f32({kMuch}));
  const ValueId a = toy_shift(graph_, x, 1, "a");
  const ValueId sent = toy_send(graph_, a, "send");
  const ValueId b = toy_shift(graph_, x, 2, "b");
  graph_.output("sum", toy_add(graph_, b, sent, "sum"));
  const Plan plan = lowered();
  EXPECT_EQ(plan.communication_steps, 1);
  EXPECT_EQ(step(plan, "send").stream, StreamKind::kCommunication);
  EXPECT_EQ(step(plan, "send").phase, Phase::kExchange);
  EXPECT_EQ(step(plan, "b").waits_for, 0);
  EXPECT_EQ(step(plan, "sum").waits_for, 1);
  // Others may read it in place, and it is not reused while that may be.
  EXPECT_EQ(step(plan, "send").inputs[0].space, Space::kSharedArena);
  EXPECT_FALSE(same_place(step(plan, "send").inputs[0], step(plan, "b").outputs[0]));
  EXPECT_EQ(plan.waits_for_at_end, 1);
}

TEST_F(LowerTest, AnExchangeThatHidesBehindNothingStaysOnTheComputeStream) {
  const ValueId x = graph_.input("x", f32({kMuch}));
  const ValueId first = toy_send(graph_, toy_shift(graph_, x, 1, "a"), "first");
  const ValueId b = toy_shift(graph_, x, 2, "b");
  const ValueId second = toy_send(graph_, b, "second");
  graph_.output("sum", toy_add(graph_, first, second, "sum"));
  const Plan plan = lowered();
  EXPECT_EQ(step(plan, "first").stream, StreamKind::kCommunication);
  EXPECT_EQ(step(plan, "second").stream, StreamKind::kCompute);
  EXPECT_EQ(step(plan, "second").waits_for, 1);  // exchanges keep their order
}

// A gather of parameters goes on behind the next run: whoever first needs the state waits.
TEST_F(LowerTest, AnExchangeOfAStateMayOutliveTheRun) {
  const ValueId x = graph_.input("x", f32({kMuch})), w = graph_.state("w", f32({kMuch}));
  graph_.output("y", toy_multiply(graph_, x, w, "y"));
  toy_gather(graph_, w, "gather");
  const Plan plan = lowered();
  EXPECT_EQ(step(plan, "gather").stream, StreamKind::kCommunication);
  EXPECT_EQ(plan.waits_for_at_end, 0);
  EXPECT_EQ(step(plan, "y").waits_for_states, (std::vector<int>{0}));
}

TEST_F(LowerTest, EqualOpsOnEqualTypesShareAKernel) {
  const ValueId x = graph_.input("x", f32({4})), y = graph_.input("y", f32({5}));
  const ValueId a = toy_scale(graph_, x, 2), b = toy_scale(graph_, a, 2);
  const ValueId c = toy_scale(graph_, x, 3), d = toy_scale(graph_, y, 2);
  for (const ValueId value : {b, c, d}) graph_.output(graph_.value(value).name, value);
  const Plan plan = lowered();
  ASSERT_EQ(plan.steps.size(), 4u);
  EXPECT_EQ(plan.steps[0].kernel, plan.steps[1].kernel);
  EXPECT_NE(plan.steps[0].kernel, plan.steps[2].kernel);
  EXPECT_NE(plan.steps[0].kernel, plan.steps[3].kernel);
  EXPECT_EQ(lowered().steps[3].kernel, plan.steps[3].kernel);  // another Plan, the same cache
}

TEST_F(LowerTest, AMissingKernelNamesTheNode) {
  const ValueId x = graph_.input("x", {DType::kI64, {4}, nullptr});
  graph_.output("y", accumulate(graph_, x, x, "sum_of_steps"));
  try {
    lowered();
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kBadInput);
    EXPECT_STREQ(error.what(), "sum_of_steps: accumulate: no kernel for i64(4)");
  }
  KernelRegistry empty;
  KernelCache none(empty, device_);
  try {
    lower(graph_, none);
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "sum_of_steps: op accumulate has no kernel for cpu");
  }
}

TEST_F(LowerTest, ThePlanPrintsOneLineAStepAndItsHashFollowsTheStructure) {
  const auto build = [&](double factor) {
    graph_ = Graph();
    const ValueId x = graph_.input("x", f32({500}));
    graph_.output("y", toy_scale(graph_, x, factor, "y"));
    return lowered();
  };
  const Plan plan = build(2);
  EXPECT_EQ(plan.to_string(),
            "step  name  kernel                kFLOP          kB  stream         op\n"
            "0     y     toy_scale_cpu           0.5         4.0  compute        toy_scale[factor=2]\n");
  EXPECT_EQ(plan.hash(), build(2).hash());
  EXPECT_NE(plan.hash(), build(3).hash());
}

TEST_F(LowerTest, AnEmptyGraphIsAnEmptyPlan) {
  const Plan plan = lowered();
  EXPECT_TRUE(plan.steps.empty());
  EXPECT_EQ(plan.arena_bytes, 0u);
}

// The size of a ResNet-50's training step of 8 microbatches.
TEST_F(LowerTest, TenThousandNodesAreQuick) {
  const ValueId x = graph_.input("x", f32({256}));
  std::vector<ValueId> sums;
  for (int microbatch = 0; microbatch < 8; ++microbatch) {
    std::vector<ValueId> activations{toy_shift(graph_, x, microbatch)}, gradients;
    for (int layer = 0; layer < 600; ++layer) {
      activations.push_back(toy_scale(graph_, activations.back(), 1 + layer));
    }
    ValueId cotangent = activations.back();
    for (int layer = 600; layer > 0; --layer) {
      cotangent = toy_multiply(graph_, activations[layer - 1], cotangent);
      if (layer % 4 == 0) gradients.push_back(toy_smooth(graph_, cotangent));
    }
    sums.push_back(pack(graph_, gradients));
  }
  for (std::size_t i = 1; i < sums.size(); ++i) sums[0] = accumulate(graph_, sums[0], sums[i]);
  graph_.output("sum", sums[0]);
  ASSERT_GT(graph_.nodes().size(), 10'000u);
  graph_.verify();
  const auto start = std::chrono::steady_clock::now();
  const Plan plan = lower(graph_, kernels_);
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  EXPECT_GT(plan.steps.size(), 10'000u);
  RecordProperty("milliseconds", static_cast<int>(took.count() * 1e3));
#ifdef NDEBUG  // a measurement of optimised code
  EXPECT_LT(took.count(), 1.0);
#endif
}

}  // namespace
}  // namespace lockstep
