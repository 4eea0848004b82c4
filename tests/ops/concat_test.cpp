// Concatenation along any axis.
#include "ops/concat/concat.h"

#include <gtest/gtest.h>

#include "core/base/error.h"
#include "core/passes/autodiff.h"
#include "tests/core/run_graph.h"
#include "tests/ops/op_test.h"
#include "tests/test_device.h"

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
  auto found = run_graph(graph, test_registry(), test_device(), {{"x", {0, 0}}, {"dy", {1, 2, 30, 40}}});
  EXPECT_EQ(found["dx"], (std::vector<double>{31, 42}));
}

TEST(Concat, CopiesNumbersOfAnyTypeAndTheirGradients) {
  KernelRegistry of_cpu;
  register_concat_cpu(of_cpu);
  CpuDevice three(3);
  for (const DType dtype : {DType::kI64, DType::kU8, DType::kBF16, DType::kF32}) {
    for (const auto& [left, right] : {std::pair{3, 2}, {16, 48}, {4, 12}, {0, 5}}) {
      SCOPED_TRACE(text(name_of(dtype), " ", left, " ", right));
      constexpr int kRows = 3001;
      Tensors parts(2), whole(1);
      for (int row = 0; row < kRows; ++row) {
        for (int j = 0; j < left + right; ++j) {
          const double value = (10 * row + j) % 251;
          parts[j < left ? 0 : 1].push_back(value);
          whole[0].push_back(value);
        }
      }
      const TensorType a{dtype, {kRows, left}}, b{dtype, {kRows, right}}, all{dtype, {kRows, left + right}};
      const ConcatOp concat(1);
      const ConcatBackwardOp backward(1, {left, right});
      for (const std::size_t offset : {0, 8}) {
        const OpRun join{{a, b}, {all}, false, offset}, cut{{all}, {a, b}, false, offset};
        EXPECT_EQ(run_op(concat, join, test_registry(), test_device(), parts), whole);
        EXPECT_EQ(run_op(backward, cut, test_registry(), test_device(), whole), parts);
        EXPECT_EQ(run_op(concat, join, of_cpu, three, parts), whole);
        EXPECT_EQ(run_op(backward, cut, of_cpu, three, whole), parts);
      }
    }
  }
}

TEST(Concat, TakesAnyNumberOfInputs) {
  std::vector<std::int64_t> extents;
  for (std::int64_t i = 0; i < 37; ++i) extents.push_back(i % 4);
  check_op(case_of({5}, extents, {3}, 1));
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
