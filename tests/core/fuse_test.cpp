#include "core/passes/fuse.h"

#include <gtest/gtest.h>

#include "core/base/error.h"
#include "core/passes/eliminate_dead.h"
#include "tests/core/pass_values.h"
#include "tests/core/random_graph.h"
#include "tests/core/toy_ops.h"

namespace lockstep {
namespace {

using namespace lockstep::testing;

// toy_shift of toy_scale is toy_affine, where nobody else reads the scaled value.
std::optional<Fusion> match_scale_shift(const FusionSite& site) {
  if (site.node().op->name() != "toy_shift") return std::nullopt;
  const Node* scale = site.producer(site.node(), 0);
  if (scale == nullptr || scale->op->name() != "toy_scale") return std::nullopt;
  const ValueId scaled = site.node().inputs[0];
  if (!site.only_read_by(scaled, site.root)) return std::nullopt;
  return Fusion{
      toy_affine_op(scale_shift_of(*scale->op).factor, scale_shift_of(*site.node().op).by),
      {scale->inputs[0]},
      {site.node().outputs[0]},
      {site.graph.value(scaled).producer}};
}
const FusionPattern kScaleShift{"scale+shift", match_scale_shift};

// toy_scale of toy_scale is one toy_scale: matches its own results until a chain is one node.
std::optional<Fusion> match_scale_scale(const FusionSite& site) {
  if (site.node().op->name() != "toy_scale") return std::nullopt;
  const Node* first = site.producer(site.node(), 0);
  if (first == nullptr || first->op->name() != "toy_scale") return std::nullopt;
  const ValueId between = site.node().inputs[0];
  if (!site.only_read_by(between, site.root)) return std::nullopt;
  const double factor = scale_shift_of(*first->op).factor * scale_shift_of(*site.node().op).factor;
  return Fusion{toy_affine_op(factor, 0),
                {first->inputs[0]},
                {site.node().outputs[0]},
                {site.graph.value(between).producer}};
}

TEST(Fuse, ReplacesTheRootAndRemovesWhatItAbsorbed) {
  Graph graph;
  const ValueId x = graph.input("x", f32({4}));
  const ValueId scaled = toy_scale(graph, x, 2, "scaled");
  const ValueId shifted = toy_shift(graph, scaled, 3, "shifted");
  graph.output("y", toy_add(graph, shifted, x, "sum"));
  const Graph after = fuse(graph, {kScaleShift});
  EXPECT_EQ(after.to_string(),
            "%0 f32(4) = input \"x\"\n"
            "%1 f32(4) = toy_affine[factor=2 by=3](%0) \"shifted\"\n"
            "%2 f32(4) = toy_add(%1, %0) \"sum\"\n"
            "output \"y\" = %2\n");
  expect_equal_values(graph, after);
}

TEST(Fuse, MatchesEverywhereAndNamesOfOutputsStay) {
  Graph graph;
  ValueId x = graph.input("x", f32({4}));
  for (int i = 0; i < 5; ++i) x = toy_shift(graph, toy_scale(graph, x, 2), 1);
  graph.output("y", x);
  const Graph after = fuse(graph, {kScaleShift});
  EXPECT_EQ(after.nodes().size(), 5u);
  for (const Node& node : after.nodes()) EXPECT_EQ(node.op->name(), "toy_affine");
  EXPECT_NE(after.find_output("y"), kNoValue);
  expect_equal_values(graph, after);
}

TEST(Fuse, LeavesAloneWhatIsReadElsewhereOrAnOutputOrNoNode) {
  Graph graph;
  const ValueId x = graph.input("x", f32({4}));
  const ValueId read_twice = toy_scale(graph, x, 2, "read_twice");
  const ValueId a = toy_shift(graph, read_twice, 1, "a");
  const ValueId shown = toy_scale(graph, x, 3, "shown");
  const ValueId b = toy_shift(graph, shown, 1, "b");
  const ValueId c = toy_shift(graph, x, 1, "c");
  graph.output("a", toy_add(graph, a, read_twice));
  graph.output("shown", shown);
  graph.output("b", b);
  graph.output("c", c);
  EXPECT_EQ(fuse(graph, {kScaleShift}).to_string(), graph.to_string());
  EXPECT_EQ(fuse(graph, {}).to_string(), graph.to_string());
}

TEST(Fuse, PatternsApplyInTurnToWhatTheEarlierMade) {
  Graph graph;
  ValueId x = graph.input("x", f32({4}));
  for (int i = 0; i < 4; ++i) x = toy_scale(graph, x, 2);
  graph.output("y", toy_shift(graph, x, 1));
  // A chain of scales becomes pairs; pairs are toy_affine, so the last scale pairs with none.
  const FusionPattern pairs{"scale+scale", match_scale_scale};
  const Graph first = fuse(graph, {pairs, kScaleShift});
  EXPECT_EQ(first.nodes().size(), 3u);
  const Graph second = fuse(graph, {kScaleShift, pairs});  // the shift takes one scale first
  EXPECT_EQ(second.to_string(),
            "%0 f32(4) = input \"x\"\n"
            "%1 f32(4) = toy_scale[factor=2](%0) \"toy_scale_0\"\n"
            "%2 f32(4) = toy_affine[factor=4](%1) \"toy_scale_2\"\n"
            "%3 f32(4) = toy_affine[factor=2 by=1](%2) \"toy_shift_4\"\n"
            "output \"y\" = %3\n");
  expect_equal_values(graph, first);
  expect_equal_values(graph, second);
}

// The fused op reads the input of the root's producer instead of its output, and absorbs nothing:
// other fusions of the sweep must not take away what it reads.
TEST(Fuse, AFusionThatReadsNewValuesKeepsThem) {
  const FusionPattern skip{
      "skip", [](const FusionSite& site) -> std::optional<Fusion> {
        const std::optional<Fusion> affine = match_scale_shift(site);
        if (affine) return affine;
        if (site.node().op->name() != "toy_smooth") return std::nullopt;
        const Node* from = site.producer(site.node(), 0);
        if (from == nullptr || from->op->name() != "copy") return std::nullopt;
        return Fusion{site.node().op, {from->inputs[0]}, site.node().outputs, {}};
      }};
  Graph graph;
  const ValueId x = graph.input("x", f32({4}));
  const ValueId scaled = toy_scale(graph, x, 2, "scaled");
  const ValueId shifted = toy_shift(graph, scaled, 3, "shifted");
  graph.output("y", toy_smooth(graph, copy(graph, shifted, "copy"), 0, "smooth"));
  const Graph after = eliminate_dead(fuse(graph, {skip}));
  EXPECT_EQ(after.to_string(),
            "%0 f32(4) = input \"x\"\n"
            "%1 f32(4) = toy_affine[factor=2 by=3](%0) \"shifted\"\n"
            "%2 f32(4) = toy_smooth(%1) \"smooth\"\n"
            "output \"y\" = %2\n");
  expect_equal_values(graph, after);
}

// The same where the value that is newly read would vanish into the other fusion: that one gives
// way.
TEST(Fuse, AValueThatIsNewlyReadDoesNotVanish) {
  const FusionPattern pattern{
      "greedy", [](const FusionSite& site) -> std::optional<Fusion> {
        if (const auto affine = match_scale_shift(site)) return affine;
        // The smooth reads what the shift reads: right where the shift adds nothing, as here.
        if (site.node().op->name() != "toy_smooth") return std::nullopt;
        const Node* shift = site.producer(site.node(), 0);
        if (shift == nullptr || shift->op->name() != "toy_shift") return std::nullopt;
        return Fusion{site.node().op, {shift->inputs[0]}, site.node().outputs, {}};
      }};
  Graph graph;
  const ValueId x = graph.input("x", f32({4}));
  const ValueId scaled = toy_scale(graph, x, 2, "scaled");
  const ValueId shifted = toy_shift(graph, scaled, 0, "shifted");
  graph.output("y", toy_smooth(graph, shifted, 0, "smooth"));
  graph.output("z", toy_smooth(graph, copy(graph, shifted), 0, "other"));
  const Graph after = fuse(graph, {pattern});
  expect_equal_values(graph, after);
  EXPECT_EQ(after.node(after.value(after.find_output("y")).producer).inputs[0], 1);  // scaled
}

TEST(Fuse, APatternThatWouldLoseAValueIsAnError) {
  Graph graph;
  const ValueId x = graph.input("x", f32({4}));
  const ValueId scaled = toy_scale(graph, x, 2, "scaled");
  const ValueId y = toy_shift(graph, scaled, 3, "y");
  const auto refused = [&](Fusion fusion) -> std::string {
    const FusionPattern pattern{"careless", [=](const FusionSite& site) {
                                  return site.root == 1 ? std::optional(fusion) : std::nullopt;
                                }};
    try {
      fuse(graph, {pattern});
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kInvariant);
      return error.what();
    }
    return "no error";
  };
  const auto affine = toy_affine_op(2, 3);
  graph.output("scaled", scaled);
  EXPECT_EQ(refused({affine, {x}, {y}, {0}}), "careless: scaled is an output");
  Graph read_later;
  std::swap(graph, read_later);
  graph.input("x", f32({4}));
  toy_scale(graph, x, 2, "scaled");
  toy_shift(graph, scaled, 3, "y");
  graph.output("z", toy_add(graph, scaled, y, "z"));
  EXPECT_EQ(refused({affine, {x}, {y}, {0}}), "careless: scaled is still read");
  EXPECT_EQ(refused({affine, {x}, {}, {}}), "careless: y is still read");
  EXPECT_EQ(refused({affine, {x}, {y, scaled}, {0}}),
            "careless: the fused op has 1 outputs, the pattern names 2");
  EXPECT_EQ(refused({std::make_shared<ViewOp>(Shape{2, 2}, 0, DType::kF32), {x}, {y}, {}}),
            "careless: y was f32(4), the fused op makes it f32(2, 2)");
}

TEST(Fuse, RandomGraphsKeepTheirValues) {
  std::size_t fused = 0;
  for (std::uint32_t seed = 0; seed < 200; ++seed) {
    const Graph graph = random_graph(seed, {.nodes = 60, .updates = false, .bf16 = false});
    const Graph after = fuse(graph, {kScaleShift, {"scale+scale", match_scale_scale}});
    expect_equal_values(graph, after);
    fused += graph.nodes().size() - after.nodes().size();
  }
  EXPECT_GT(fused, 50u);
}

}  // namespace
}  // namespace lockstep
