// Bias along the last axis and its gradient.
#include "ops/bias/bias.h"

#include <gtest/gtest.h>

#include "core/base/error.h"
#include "tests/core/run_graph.h"
#include "tests/ops/op_test.h"
#include "tests/test_device.h"

namespace lockstep::testing {
namespace {

OpCase case_of(const std::string& name, const Shape& shape) {
  const std::int64_t columns = shape[-1];
  return {.name = name,
          .op = std::make_shared<BiasOp>(),
          .inputs = {{DType::kF32, shape}, {DType::kF32, {columns}}},
          .reference =
              [columns](const Tensors& in) {
                Tensors out = {in[0]};
                for (std::size_t i = 0; i < out[0].size(); ++i) out[0][i] += in[1][i % columns];
                return out;
              },
          .reduction_length = static_cast<double>(
              std::max<std::int64_t>(1, columns > 0 ? shape.elements() / columns : 1)),
          .keeps_f32 = {1}};
}

TEST(Bias, AgreesWithItsDefinition) {
  check_ops({case_of("one", {1, 1}), case_of("vector", {5}), case_of("odd", {3, 5, 7}),
             case_of("one column", {37, 1}), case_of("narrow, many rows", {131, 3}),
             case_of("wide", {3, 300}), case_of("images", {2, 3, 3, 16})});
}

TEST(Bias, TakesNoRows) {
  Graph graph;
  const ValueId x = graph.input("x", {DType::kF32, {0, 3}});
  const ValueId b = graph.input("b", {DType::kF32, {3}});
  graph.output("y", bias(graph, x, b));
  graph.output("db", bias_backward(graph, x));
  auto found = run_graph(graph, test_registry(), test_device(), {{"x", {}}, {"b", {1, 2, 3}}});
  EXPECT_TRUE(found["y"].empty());
  EXPECT_EQ(found["db"], (std::vector<double>{0, 0, 0}));
}

// Whole numbers, whose sums are exact in f32 in any order.
TEST(Bias, GradientSumsEveryRowOnce) {
  KernelRegistry of_cpu;
  register_bias_cpu(of_cpu);
  const BiasBackwardOp op;
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    for (const Shape& shape : {Shape{70001, 3}, Shape{8191, 40}, Shape{101, 1500}, Shape{1, 70000}, Shape{40003, 1},
                               Shape{3001, 136}, Shape{2, 2048}}) {
      SCOPED_TRACE(text(name_of(dtype), shape));
      const std::int64_t columns = shape[1];
      Tensors dy(1), expected = {std::vector<double>(columns, 0.0)};
      for (std::int64_t i = 0; i < shape.elements(); ++i) {
        dy[0].push_back(static_cast<double>(i * 7 % 11 - 5));
        expected[0][i % columns] += dy[0].back();
      }
      const OpRun run{{{dtype, shape}}, {{DType::kF32, {columns}}}};
      EXPECT_EQ(run_op(op, run, test_registry(), test_device(), dy), expected);
      for (const int threads : {2, 3}) {
        CpuDevice many(threads);
        EXPECT_EQ(run_op(op, run, of_cpu, many, dy), expected) << threads << " threads";
      }
    }
  }
}

// 0.1 is not exact, so another order of the additions would show.
TEST(Bias, GradientHasTheSameBitsInUnalignedMemory) {
  const BiasBackwardOp op;
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    for (const Shape& shape : {Shape{9001, 64}, Shape{300, 24}, Shape{40, 1032}, Shape{77, 5}}) {
      SCOPED_TRACE(text(name_of(dtype), shape));
      Tensors dy(1);
      for (std::int64_t i = 0; i < shape.elements(); ++i) dy[0].push_back(0.1 * static_cast<double>(i % 97));
      OpRun run{{{dtype, shape}}, {{DType::kF32, {shape[1]}}}};
      const Tensors aligned = run_op(op, run, test_registry(), test_device(), dy);
      run.offset = 4;
      EXPECT_EQ(run_op(op, run, test_registry(), test_device(), dy), aligned);
    }
  }
}

TEST(Bias, RefusesAVectorThatDoesNotFit) {
  Graph graph;
  const ValueId x = graph.input("x", {DType::kBF16, {2, 3}});
  const ValueId b = graph.input("b", {DType::kF32, {4}});
  try {
    bias(graph, x, b, "fc/bias");
    FAIL() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(),
                 "fc/bias (bias): bias is f32(4), expected f32(3) for input bf16(2, 3)");
  }
}

}  // namespace
}  // namespace lockstep::testing
