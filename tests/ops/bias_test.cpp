// Bias along the last axis and its gradient.
#include "ops/bias/bias.h"

#include <gtest/gtest.h>

#include "core/base/error.h"
#include "ops/register.h"
#include "tests/core/run_graph.h"
#include "tests/ops/op_test.h"

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
  KernelRegistry registry;
  register_bias_cpu(registry);
  CpuDevice device;
  auto found = run_graph(graph, registry, device, {{"x", {}}, {"b", {1, 2, 3}}});
  EXPECT_TRUE(found["y"].empty());
  EXPECT_EQ(found["db"], (std::vector<double>{0, 0, 0}));
}

// Whole numbers, whose sums are exact in f32 in any order.
TEST(Bias, GradientSumsEveryRowOnceWithAnyThreads) {
  KernelRegistry registry;
  register_bias_cpu(registry);
  for (const Shape& shape : {Shape{70001, 3}, Shape{8191, 40}, Shape{101, 1500}, Shape{1, 70000}}) {
    const std::int64_t rows = shape[0], columns = shape[1];
    std::vector<float> dy(rows * columns), expected(columns, 0.0f), found(columns, -1.0f);
    for (std::int64_t i = 0; i < rows * columns; ++i) {
      dy[i] = static_cast<float>(i * 7 % 11 - 5);
      expected[i % columns] += dy[i];
    }
    const std::vector<TensorType> in = {{DType::kF32, shape}}, out = {{DType::kF32, {columns}}};
    for (const int threads : {1, 2, 3}) {
      CpuDevice device(threads);
      const BiasBackwardOp op;
      const Kernel kernel = registry.make({op, in, out, device});
      const Memory workspace = device.allocate(kernel.workspace_bytes);
      void *from = dy.data(), *to = found.data();
      kernel.run({&from, &to, workspace.data(), nullptr});
      EXPECT_EQ(found, expected) << shape << " with " << threads << " threads";
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
