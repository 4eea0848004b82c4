// Building, printing, copying and verifying graphs.
#include "core/graph/graph.h"

#include <gtest/gtest.h>

#include "core/base/error.h"
#include "tests/core/toy_ops.h"

namespace lockstep {
namespace {

using namespace lockstep::testing;

// The message of the error that `body` throws.
template <typename Body>
std::string error_of(ErrorKind kind, const Body& body) {
  try {
    body();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind);
    return error.what();
  }
  return "no error";
}

// An op whose shape rule can be changed behind the graph's back.
class FickleOp final : public Op {
 public:
  explicit FickleOp(std::vector<TensorType> outputs) : outputs_(std::move(outputs)) {}
  std::string_view name() const override { return "fickle"; }
  std::vector<TensorType> infer(std::span<const TensorType>) const override { return outputs_; }
  void become(std::vector<TensorType> outputs) { outputs_ = std::move(outputs); }

 private:
  std::vector<TensorType> outputs_;
};

TEST(Graph, PrintsOneLineForEachInputStateNodeAndOutput) {
  Graph graph;
  const ValueId x = graph.input("x", f32({2, 3}));
  const ValueId w = graph.state("block/w", f32({2, 3}));
  const ValueId y = toy_multiply(graph, x, w, "y");
  const ValueId z = toy_scale(graph, y, 0.5);
  const std::vector<ValueId> parts = toy_split(graph, z, "parts");
  const ValueId low = cast(graph, parts[1], DType::kBF16, "low");
  graph.set_layout(low, std::make_shared<ReversedLayout>(graph.type(low), 2));
  fill(graph, f32({}), 0.1, "constant");
  graph.output("first", parts[0]);
  graph.output("second", low);
  EXPECT_EQ(graph.to_string(),
            "%0 f32(2, 3) = input \"x\"\n"
            "%1 f32(2, 3) = state \"block/w\"\n"
            "%2 f32(2, 3) = toy_multiply(%0, %1) \"y\"\n"
            "%3 f32(2, 3) = toy_scale[factor=0.5](%2) \"toy_scale_1\"\n"
            "%4 f32(2, 3), %5 f32(2, 3) = toy_split(%3) \"parts\"\n"
            "%6 bf16(2, 3):reversed+2 = cast[to=bf16](%5) \"low\"\n"
            "%7 f32() = fill[f32() value=0.10000000000000001]() \"constant\"\n"
            "output \"first\" = %4\n"
            "output \"second\" = %6\n");
}

TEST(Graph, ValuesKnowTheirKindTheirNameAndTheirProducer) {
  Graph graph;
  const ValueId x = graph.input("x", f32({4}));
  const std::vector<ValueId> parts = toy_split(graph, x, "parts");
  EXPECT_EQ(graph.value(x).kind, ValueKind::kInput);
  EXPECT_EQ(graph.value(parts[1]).kind, ValueKind::kResult);
  EXPECT_EQ(graph.value(parts[1]).name, "parts:1");
  EXPECT_EQ(graph.value(parts[1]).producer, 0);
  EXPECT_EQ(graph.value(parts[1]).producer_output, 1);
  EXPECT_EQ(graph.types(parts), (std::vector<TensorType>{f32({4}), f32({4})}));
}

TEST(Graph, FindsInputsStatesAndOutputsByName) {
  Graph graph;
  const ValueId x = graph.input("same", f32({4})), w = graph.state("same", f32({4}));
  graph.output("same", toy_add(graph, x, w));
  EXPECT_EQ(graph.find_input("same"), x);
  EXPECT_EQ(graph.find_state("same"), w);
  EXPECT_EQ(graph.find_output("same"), 2);
  EXPECT_EQ(graph.find_input("toy_add_0"), kNoValue);
  EXPECT_EQ(graph.find_state("x"), kNoValue);
  EXPECT_EQ(graph.find_output("toy_add_0"), kNoValue);
}

TEST(Graph, ReadersAreListedOnceAndInOrder) {
  Graph graph;
  const ValueId x = graph.input("x", f32({4}));
  const ValueId y = toy_add(graph, x, x);
  toy_add(graph, y, x);
  const auto readers = graph.readers();
  EXPECT_EQ(readers[x], (std::vector<NodeId>{0, 1}));
  EXPECT_EQ(readers[y], (std::vector<NodeId>{1}));
  EXPECT_TRUE(readers[2].empty());
}

TEST(Graph, ShapeErrorsNameTheNodeAndTheOp) {
  Graph graph;
  const ValueId x = graph.input("x", f32({4})), y = graph.input("y", f32({5}));
  EXPECT_EQ(error_of(ErrorKind::kBadInput, [&] { toy_add(graph, x, y, "sum"); }),
            "sum (toy_add): inputs f32(4) and f32(5) differ");
  EXPECT_EQ(error_of(ErrorKind::kBadInput, [&] { accumulate(graph, x, y); }),
            "accumulate_0 (accumulate): inputs f32(4) and f32(5) differ, expected equal types");
  EXPECT_TRUE(graph.nodes().empty());  // nothing half-added
  EXPECT_EQ(graph.values().size(), 2u);
}

TEST(Graph, WhatDoesNotExistIsRefused) {
  Graph graph;
  const ValueId x = graph.input("x", f32({4}));
  const auto refused = [&](const auto& body) { return error_of(ErrorKind::kInvariant, body); };
  EXPECT_EQ(refused([&] { copy(graph, 7, "y"); }), "y (copy): value %7 does not exist");
  EXPECT_EQ(refused([&] { graph.value(-1); }), "value %-1 does not exist");
  EXPECT_EQ(refused([&] { graph.node(0); }), "node 0 does not exist");
  EXPECT_EQ(refused([&] { graph.output("y", 3); }), "value %3 does not exist");
  graph.output("y", x);
  EXPECT_EQ(refused([&] { graph.output("y", x); }), "two graph outputs are called y");
  EXPECT_EQ(refused([&] { graph.set_layout(x, nullptr); }), "x: only results have layouts");
  EXPECT_EQ(refused([&] {
              graph.add(std::make_shared<FickleOp>(std::vector{f32({1}), f32({1})}), {}, "pair");
            }),
            "pair: an op with 2 outputs was added as if it had one");
}

TEST(GraphVerify, AcceptsAWellFormedGraph) {
  Graph graph;
  graph.verify();
  const ValueId x = graph.input("x", f32({4})), w = graph.state("x", f32({4}));
  const ValueId y = toy_multiply(graph, x, w);
  const ValueId updated = toy_update(graph, w, y)[0];
  graph.output("w", toy_scale(graph, updated, 2));
  graph.verify();
}

TEST(GraphVerify, FindsTwoInputsOrStatesOfOneName) {
  Graph inputs;
  inputs.input("x", f32({4}));
  inputs.input("x", f32({5}));
  EXPECT_EQ(error_of(ErrorKind::kInvariant, [&] { inputs.verify(); }),
            "two graph values are called x");
  Graph states;
  states.state("w", f32({4}));
  states.state("w", f32({4}));
  EXPECT_EQ(error_of(ErrorKind::kInvariant, [&] { states.verify(); }),
            "two graph values are called w");
}

TEST(GraphVerify, FindsResultsThatTheShapeRuleDoesNotGive) {
  const auto op = std::make_shared<FickleOp>(std::vector{f32({4})});
  Graph graph;
  graph.add(op, {}, "y");
  graph.verify();
  const auto fault = [&](std::vector<TensorType> outputs) {
    op->become(std::move(outputs));
    return error_of(ErrorKind::kInvariant, [&] { graph.verify(); });
  };
  EXPECT_EQ(fault({f32({5})}), "y: output 0 is f32(4), its op says f32(5)");
  EXPECT_EQ(fault({bf16({4})}), "y: output 0 is f32(4), its op says bf16(4)");
  EXPECT_EQ(fault({f32({4}), f32({4})}), "y: has 1 outputs, its op has 2");
}

TEST(GraphVerify, FindsReadsOfOverwrittenValues) {
  const auto fault = [](const auto& build) {
    Graph graph;
    const ValueId w = graph.state("w", f32({8})), x = graph.input("x", f32({8}));
    build(graph, w, x);
    return error_of(ErrorKind::kInvariant, [&] { graph.verify(); });
  };
  EXPECT_EQ(fault([](Graph& graph, ValueId w, ValueId x) {
              toy_update(graph, w, x, kNoValue, "update");
              toy_scale(graph, w, 2, "late");
            }),
            "late: reads w after update has overwritten it");
  EXPECT_EQ(fault([](Graph& graph, ValueId w, ValueId x) {  // through a view made before
              const ValueId part = view(graph, w, {4}, 2, "part");
              toy_update(graph, w, x, kNoValue, "update");
              toy_scale(graph, part, 2, "late");
            }),
            "late: reads part after update has overwritten it");
  EXPECT_EQ(fault([](Graph& graph, ValueId w, ValueId x) {  // of a part that was overwritten
              const ValueId part = view(graph, w, {4}, 2), g = view(graph, x, {4});
              toy_update(graph, part, g, kNoValue, "update");
              toy_scale(graph, w, 2, "late");
            }),
            "late: reads w after update has overwritten it");
  EXPECT_EQ(fault([](Graph& graph, ValueId w, ValueId x) {  // the new value, overwritten again
              const ValueId updated = toy_update(graph, w, x, kNoValue, "first")[0];
              toy_update(graph, w, x, kNoValue, "second");
              toy_scale(graph, updated, 2, "late");
            }),
            "late: reads first after second has overwritten it");
  EXPECT_EQ(fault([](Graph& graph, ValueId, ValueId x) {  // a result
              const ValueId y = toy_scale(graph, x, 2, "y");
              toy_update(graph, y, x, kNoValue, "update");
              toy_scale(graph, y, 2, "late");
            }),
            "late: reads y after update has overwritten it");
}

TEST(GraphVerify, AcceptsReadsOfWhatIsNotOverwritten) {
  Graph graph;
  const ValueId w = graph.state("w", f32({8})), x = graph.input("x", f32({4}));
  const ValueId left = view(graph, w, {4}, 0), right = view(graph, w, {4}, 4);
  const ValueId new_left = toy_update(graph, left, x)[0];
  graph.output("right", toy_scale(graph, right, 2));    // another part
  graph.output("left", toy_scale(graph, new_left, 2));  // the new value
  toy_update(graph, left, x);                           // overwritten again
  graph.output("again", view(graph, toy_update(graph, right, x)[0], {2}, 1));
  graph.verify();
}

// The trait has 32 bits: an op that overwrites its first input does not overwrite its 33rd.
TEST(GraphVerify, OpsMayHaveMoreInputsThanTheTraitHasBits) {
  class UpdateOp final : public Op {
   public:
    std::string_view name() const override { return "update"; }
    std::vector<TensorType> infer(std::span<const TensorType> inputs) const override {
      return {inputs[0]};
    }
    Traits traits() const override { return {.mutates = 1u}; }
  };
  Graph graph;
  const ValueId w = graph.state("w", f32({4})), v = graph.state("v", f32({4}));
  std::vector<ValueId> inputs(33, v);
  inputs[0] = w;
  graph.add(std::make_shared<UpdateOp>(), inputs, "update");
  graph.output("v", toy_scale(graph, v, 2));
  graph.verify();
}

TEST(GraphCopy, OfEveryNodeIsTheSameGraph) {
  Graph graph;
  const ValueId x = graph.input("x", f32({4})), y = toy_scale(graph, x, 2, "y");
  const ValueId late = graph.state("late", f32({4}));
  graph.set_layout(y, std::make_shared<ReversedLayout>(graph.type(y), 0));
  const ValueId z = toy_scale(graph, y, 3, "z");  // its shape rule hands the layout on
  graph.set_layout(z, nullptr);
  graph.output("z", toy_add(graph, z, late, "sum"));
  GraphCopy copy(graph);
  for (NodeId id = 0; id < 3; ++id) copy.copy_node(id);
  EXPECT_EQ(copy.finish().to_string(),
            "%0 f32(4) = input \"x\"\n"
            "%1 f32(4) = state \"late\"\n"
            "%2 f32(4):reversed = toy_scale[factor=2](%0) \"y\"\n"
            "%3 f32(4) = toy_scale[factor=3](%2) \"z\"\n"
            "%4 f32(4) = toy_add(%3, %1) \"sum\"\n"
            "output \"z\" = %4\n");
}

TEST(GraphCopy, AValueThatWasDroppedCannotBeRead) {
  Graph graph;
  const ValueId x = graph.input("x", f32({4})), y = toy_scale(graph, x, 2, "y");
  graph.output("z", toy_scale(graph, y, 3, "z"));
  GraphCopy copy(graph);
  EXPECT_EQ(error_of(ErrorKind::kInvariant, [&] { copy.copy_node(1); }),
            "value y was dropped but is still read");
  copy.map(y, copy[x]);
  copy.copy_node(1);
  EXPECT_EQ(copy.finish().to_string(),
            "%0 f32(4) = input \"x\"\n"
            "%1 f32(4) = toy_scale[factor=3](%0) \"z\"\n"
            "output \"z\" = %1\n");
}

TEST(TensorType, BytesAndNamesFollowTheLayout) {
  const TensorType plain = f32({2, 3}), low = bf16({2, 3});
  EXPECT_EQ(plain.bytes(), 24u);
  EXPECT_EQ(low.bytes(), 12u);
  EXPECT_EQ(f32({0, 3}).bytes(), 0u);
  EXPECT_EQ(f32({}).bytes(), 4u);
  TensorType reversed = plain;
  reversed.layout = std::make_shared<ReversedLayout>(plain, 2);
  EXPECT_EQ(reversed.bytes(), 32u);
  EXPECT_EQ(reversed.to_string(), "f32(2, 3):reversed+2");
  EXPECT_NE(reversed, plain);
  TensorType equal = plain;
  equal.layout = std::make_shared<ReversedLayout>(plain, 2);
  EXPECT_EQ(reversed, equal);
}

}  // namespace
}  // namespace lockstep
