// Binary ops under broadcasting, and scale.
#include "ops/binary/binary.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "core/base/error.h"
#include "core/passes/autodiff.h"
#include "tests/core/run_graph.h"
#include "tests/ops/op_test.h"
#include "tests/test_device.h"

namespace lockstep::testing {
namespace {

constexpr BinaryKind kKinds[] = {BinaryKind::kAdd, BinaryKind::kSubtract, BinaryKind::kMultiply,
                                 BinaryKind::kDivide};

double value_of(BinaryKind kind, double a, double b) {
  switch (kind) {
    case BinaryKind::kAdd:
      return a + b;
    case BinaryKind::kSubtract:
      return a - b;
    case BinaryKind::kMultiply:
      return a * b;
    case BinaryKind::kDivide:
      return a / b;
  }
  return 0;
}

// The element of a tensor of `shape` that element i of `result` reads.
std::int64_t source(const Shape& shape, const Shape& result, std::int64_t i) {
  std::int64_t at = 0, stride = 1;
  for (int axis = 1; axis <= shape.rank(); ++axis) {
    if (shape[-axis] != 1) at += i % result[-axis] * stride;
    i /= result[-axis];
    stride *= shape[-axis];
  }
  return at;
}

OpCase case_of(BinaryKind kind, BinaryShapes shapes, const Shape& a, const Shape& b) {
  const Shape result = broadcast(a, b);
  const double repeats =
      static_cast<double>(result.elements()) /
      static_cast<double>(std::max<std::int64_t>(1, std::min(a.elements(), b.elements())));
  OpCase out = {.name = text(static_cast<int>(kind), " ", a, " ", b),
                .op = std::make_shared<BinaryOp>(kind, shapes),
                .inputs = {{DType::kF32, a}, {DType::kF32, b}},
                .reference =
                    [=](const Tensors& in) {
                      Tensors y(1);
                      for (std::int64_t i = 0; i < result.elements(); ++i) {
                        y[0].push_back(value_of(kind, in[0][source(a, result, i)],
                                                in[1][source(b, result, i)]));
                      }
                      return y;
                    },
                .reduction_length = repeats,
                .gradient = result.elements() > 0};  // else zero everywhere
  if (kind == BinaryKind::kDivide) out.low = 0.5, out.high = 2.0;
  return out;
}

TEST(Binary, AgreesWithItsDefinition) {
  using enum BinaryShapes;
  for (const BinaryKind kind : kKinds) {
    check_ops(
        {case_of(kind, kSame, {1}, {1}), case_of(kind, kSame, {}, {}),
         case_of(kind, kSame, {3, 5, 7}, {3, 5, 7}), case_of(kind, kSame, {0, 5}, {0, 5}),
         case_of(kind, kFirstFull, {3, 5}, {}), case_of(kind, kFirstFull, {4, 9}, {9}),
         case_of(kind, kFirstFull, {131, 3}, {3}), case_of(kind, kFirstFull, {4, 9}, {4, 1}),
         case_of(kind, kFirstFull, {2, 3, 4, 5}, {3, 1, 5}), case_of(kind, kBroadcast, {}, {7}),
         case_of(kind, kBroadcast, {3}, {131, 3}), case_of(kind, kBroadcast, {5, 1}, {1, 6}),
         case_of(kind, kBroadcast, {2, 1, 3, 1}, {4, 1, 5}),
         case_of(kind, kBroadcast, {1, 3}, {2, 1}), case_of(kind, kBroadcast, {3, 0}, {3, 1})});
  }
}

TEST(Binary, BuildersSayWhatTheyKnowOfTheShapes) {
  Graph graph;
  const ValueId x = graph.input("x", {DType::kF32, {2, 3}});
  const ValueId row = graph.input("row", {DType::kF32, {3}});
  const ValueId column = graph.input("column", {DType::kF32, {2, 1}});
  auto traits = [&](ValueId value) { return graph.node(graph.value(value).producer).op->traits(); };
  EXPECT_TRUE(traits(add(graph, x, x)).elementwise);
  EXPECT_TRUE(traits(add(graph, x, x)).keeps_zero);
  EXPECT_FALSE(traits(divide(graph, x, x)).keeps_zero);
  EXPECT_FALSE(traits(add(graph, x, row)).elementwise);
  EXPECT_EQ(traits(add(graph, x, row)).may_overwrite, 0);
  EXPECT_EQ(traits(multiply(graph, x, column)).may_overwrite, 0);
  EXPECT_EQ(traits(add(graph, row, x)).may_overwrite, -1);
  EXPECT_EQ(traits(add(graph, row, column)).may_overwrite, -1);
}

TEST(Binary, OneInputTwiceGetsBothGradients) {
  Graph graph;
  const ValueId x = graph.input("x", {DType::kF32, {2}});
  const ValueId y = multiply(graph, x, x);
  const ValueId dy = graph.input("dy", {DType::kF32, {2}});
  const auto gradients = differentiate(graph, std::vector{y}, std::vector{dy}, std::vector{x});
  graph.output("dx", gradients[0]);
  auto found = run_graph(graph, test_registry(), test_device(), {{"x", {3, -5}}, {"dy", {1, 2}}});
  EXPECT_EQ(found["dx"], (std::vector<double>{6, -20}));
}

TEST(Binary, DivisionIsThatOfIeee) {
  Graph graph;
  const ValueId a = graph.input("a", {DType::kF32, {3}});
  const ValueId b = graph.input("b", {DType::kF32, {}});
  graph.output("y", divide(graph, a, b));
  const auto y = run_graph(graph, test_registry(), test_device(), {{"a", {1, 0, -1}}, {"b", {0}}})["y"];
  EXPECT_EQ(y[0], std::numeric_limits<double>::infinity());
  EXPECT_TRUE(std::isnan(y[1]));
  EXPECT_EQ(y[2], -std::numeric_limits<double>::infinity());
}

// Several threads, computing in the memory of the first input and memory that is not aligned give the same bits.
TEST(Binary, ComputesInPlaceAndInPieces) {
  KernelRegistry of_cpu;
  register_binary_cpu(of_cpu);
  CpuDevice one(1), three(3);
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    const TensorType type{dtype, {513, 100}};
    for (const Shape& second : {Shape{513, 100}, Shape{100}, Shape{513, 1}, Shape{}}) {
      SCOPED_TRACE(text(name_of(dtype), second));
      const BinaryOp op(BinaryKind::kAdd, BinaryShapes::kBroadcast);
      const std::vector<TensorType> in = {type, {dtype, second}};
      Tensors values(2);
      for (std::int64_t i = 0; i < type.elements(); ++i) values[0].push_back(0.1f * static_cast<float>(i % 1013));
      for (std::int64_t i = 0; i < second.elements(); ++i) values[1].push_back(0.7f * static_cast<float>(i % 877));
      const OpRun alone{in, {type}}, in_place{in, {type}, true}, unaligned{in, {type}, false, 4};
      const Tensors y = run_op(op, alone, test_registry(), test_device(), values);
      EXPECT_EQ(y, run_op(op, in_place, test_registry(), test_device(), values));
      EXPECT_EQ(y, run_op(op, unaligned, test_registry(), test_device(), values));
      EXPECT_EQ(y, run_op(op, alone, of_cpu, one, values));  // a sum has the same bits anywhere
      EXPECT_EQ(y, run_op(op, in_place, of_cpu, three, values));
    }
  }
}

TEST(Binary, RefusesWhatDoesNotFit) {
  Graph graph;
  const ValueId x = graph.input("x", {DType::kF32, {2, 3}});
  auto message = [&](const TensorType& type) -> std::string {
    try {
      add(graph, x, graph.input("other", type), "sum");
    } catch (const Error& error) {
      return error.what();
    }
    return "nothing was thrown";
  };
  EXPECT_EQ(message({DType::kF32, {4}}),
            "sum (add): shapes (2, 3) and (4) do not broadcast: 3 and 4 at axis -1");
  EXPECT_EQ(message({DType::kBF16, {3}}), "sum (add): inputs f32(2, 3) and bf16(3) differ in type");
}

TEST(Scale, AgreesWithItsDefinition) {
  for (const double factor : {-1.0, 0.1}) {
    for (const Shape& shape : {Shape{1}, Shape{3, 11}, Shape{0, 2}}) {
      check_op({.name = text("scale ", factor, " ", shape),
                .op = std::make_shared<ScaleOp>(factor),
                .inputs = {{DType::kF32, shape}},
                .reference = [=](const Tensors& in) {
                  Tensors y = in;
                  for (double& value : y[0]) value *= static_cast<float>(factor);
                  return y;
                }});
    }
  }
  Graph graph;
  const ValueId x = graph.input("x", {DType::kF32, {2}});
  EXPECT_THROW(scale(graph, x, std::numeric_limits<double>::infinity()), Error);
}

}  // namespace
}  // namespace lockstep::testing
