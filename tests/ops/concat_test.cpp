// Concatenation along any axis.
#include "ops/concat/concat.h"

#include <gtest/gtest.h>

#include "core/base/error.h"
#include "core/passes/autodiff.h"
#include "ops/register.h"
#include "tests/core/run_graph.h"
#include "tests/ops/op_test.h"

namespace lockstep::testing {
namespace {

// The inputs have `extents` along the axis, and `outer` and `inner` elements before and after it.
OpCase case_of(const Shape& outer, const std::vector<std::int64_t>& extents, const Shape& inner,
               int axis) {
  OpCase out = {.name = text(outer, " ", extents.size(), " inputs ", inner),
                .op = std::make_shared<ConcatOp>(axis),
                .inputs = {},
                .reference = [=](const Tensors& in) {
                  Tensors y(1);
                  for (std::int64_t row = 0; row < outer.elements(); ++row) {
                    for (std::size_t i = 0; i < extents.size(); ++i) {
                      const std::int64_t n = extents[i] * inner.elements();
                      const auto from = in[i].begin() + row * n;
                      y[0].insert(y[0].end(), from, from + n);
                    }
                  }
                  return y;
                }};
  for (const std::int64_t extent : extents) {
    std::vector<std::int64_t> dims(outer.dims().begin(), outer.dims().end());
    dims.push_back(extent);
    dims.insert(dims.end(), inner.dims().begin(), inner.dims().end());
    out.inputs.push_back({DType::kF32, Shape(dims)});
  }
  return out;
}

TEST(Concat, AgreesWithItsDefinition) {
  check_ops({case_of({}, {1}, {}, 0), case_of({}, {3, 2}, {}, 0), case_of({2}, {3, 1, 4}, {}, -1),
             case_of({}, {2, 3}, {5}, 0), case_of({2, 3}, {1, 2}, {7}, 2),
             case_of({3}, {0, 2}, {2}, 1), case_of({0}, {3, 2}, {2}, 1)});
}

TEST(Concat, OneInputTwiceGetsBothGradients) {
  Graph graph;
  const ValueId x = graph.input("x", {DType::kF32, {1, 2}});
  const ValueId y = concat(graph, {x, x}, 1);
  const ValueId dy = graph.input("dy", {DType::kF32, {1, 4}});
  graph.output("dx", differentiate(graph, std::vector{y}, std::vector{dy}, std::vector{x})[0]);
  KernelRegistry registry;
  register_cpu_kernels(registry);
  CpuDevice device;
  auto found = run_graph(graph, registry, device, {{"x", {0, 0}}, {"dy", {1, 2, 30, 40}}});
  EXPECT_EQ(found["dx"], (std::vector<double>{31, 42}));
}

TEST(Concat, CopiesNumbersOfAnyTypeWithAnyThreads) {
  for (const int threads : {1, 3}) {
    Graph graph;
    const ValueId a = graph.input("a", {DType::kI64, {30000, 3}});
    const ValueId b = graph.input("b", {DType::kI64, {30000, 2}});
    graph.output("y", concat(graph, {a, b}));
    std::vector<double> first, second, expected;
    for (int row = 0; row < 30000; ++row) {
      for (int j = 0; j < 3; ++j) first.push_back(10 * row + j);
      for (int j = 3; j < 5; ++j) second.push_back(10 * row + j);
      for (int j = 0; j < 5; ++j) expected.push_back(10 * row + j);
    }
    KernelRegistry registry;
    register_concat_cpu(registry);
    CpuDevice device(threads);
    EXPECT_EQ(run_graph(graph, registry, device, {{"a", first}, {"b", second}})["y"], expected);
  }
}

TEST(Concat, RefusesWhatDoesNotFit) {
  Graph graph;
  const ValueId a = graph.input("a", {DType::kF32, {2, 3}});
  auto message = [&](const TensorType& type, int axis) -> std::string {
    try {
      concat(graph, {a, graph.input("b", type)}, axis, "join");
    } catch (const Error& error) {
      return error.what();
    }
    return "nothing was thrown";
  };
  EXPECT_EQ(message({DType::kF32, {3, 3}}, 1),
            "join (concat): inputs f32(2, 3) and f32(3, 3) differ beside axis 1");
  EXPECT_EQ(message({DType::kBF16, {2, 3}}, 1),
            "join (concat): inputs f32(2, 3) and bf16(2, 3) differ beside axis 1");
  EXPECT_EQ(message({DType::kF32, {2, 3}}, 2),
            "join (concat): axis 2 is not one of the input f32(2, 3)");
}

}  // namespace
}  // namespace lockstep::testing
