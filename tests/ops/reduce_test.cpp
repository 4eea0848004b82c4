// Sum, mean and maximum over any axes.
#include "ops/reduce/reduce.h"

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

// Naive: every element goes to its result.
Tensors reference(ReduceKind kind, const Shape& shape, const std::vector<bool>& over,
                  const Tensors& in) {
  std::int64_t results = 1;
  for (int axis = 0; axis < shape.rank(); ++axis) results *= over[axis] ? 1 : shape[axis];
  const double start = kind == ReduceKind::kMax ? -std::numeric_limits<double>::infinity() : 0.0;
  std::vector<double> y(results, start);
  for (std::int64_t i = 0; i < shape.elements(); ++i) {
    std::int64_t rest = i, at = 0, stride = 1;
    for (int axis = shape.rank() - 1; axis >= 0; --axis) {
      if (!over[axis]) {
        at += rest % shape[axis] * stride;
        stride *= shape[axis];
      }
      rest /= shape[axis];
    }
    y[at] = kind == ReduceKind::kMax ? std::max(y[at], in[0][i]) : y[at] + in[0][i];
  }
  const double count = static_cast<double>(shape.elements()) / static_cast<double>(results);
  if (kind == ReduceKind::kMean) {
    for (double& value : y) value /= count;
  }
  return {y};
}

OpCase case_of(ReduceKind kind, const Shape& shape, std::vector<int> axes, bool keepdims = false) {
  const auto op = std::make_shared<ReduceOp>(kind, axes, keepdims);
  const std::vector<bool> over = op->reduced(shape);
  OpCase out = {.name = text(op->to_string(), " ", shape),
                .op = op,
                .inputs = {{DType::kF32, shape}},
                .reference = [=](const Tensors& in) { return reference(kind, shape, over, in); },
                .reduction_length = static_cast<double>(shape.elements())};
  if (kind == ReduceKind::kMax) {  // values that lie apart, in bf16 too
    std::vector<double> values;
    for (std::int64_t i = 0; i < shape.elements(); ++i) {
      values.push_back(static_cast<double>(i * 37 % 127) - 60.0);
    }
    out.values = {values};
  }
  return out;
}

TEST(Reduce, AgreesWithItsDefinition) {
  for (const ReduceKind kind : {ReduceKind::kSum, ReduceKind::kMean, ReduceKind::kMax}) {
    check_ops({case_of(kind, {1}, {0}), case_of(kind, {}, {}), case_of(kind, {7}, {}),
               case_of(kind, {113}, {}), case_of(kind, {3, 5}, {1}), case_of(kind, {3, 5}, {0}),
               case_of(kind, {3, 5}, {-1}, true), case_of(kind, {3, 5}, {}, true),
               case_of(kind, {2, 37}, {1}), case_of(kind, {2, 3, 5}, {1}),
               case_of(kind, {2, 3, 5}, {0, 2}), case_of(kind, {2, 3, 5}, {0, 2}, true),
               case_of(kind, {2, 3, 2, 3}, {1, 3}), case_of(kind, {2, 3, 2, 3}, {0, 2}),
               case_of(kind, {2, 1, 3}, {1}), case_of(kind, {1, 1, 3}, {0, 1}),
               case_of(kind, {2, 2, 2, 2, 2}, {0, 2, 4})});
  }
}

std::vector<double> run(const Graph& graph, const std::vector<double>& x) {
  return run_graph(graph, test_registry(), test_device(), {{"x", x}})["y"];
}

TEST(Reduce, SumsOverNothingAreZero) {
  Graph graph;
  graph.output("y", reduce_sum(graph, graph.input("x", {DType::kF32, {3, 0}}), {1}));
  EXPECT_EQ(run(graph, {}), (std::vector<double>{0, 0, 0}));
  Graph none;
  none.output("y", reduce_mean(none, none.input("x", {DType::kF32, {0, 3}}), {1}));
  EXPECT_TRUE(run(none, {}).empty());
}

TEST(Reduce, MaximumOverNanIsNan) {
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    for (const int axis : {0, 1}) {
      for (int at = 0; at < 40; ++at) {
        Graph graph;
        const Shape shape = axis == 0 ? Shape{40, 2} : Shape{2, 40};
        graph.output("y", reduce_max(graph, graph.input("x", {dtype, shape}), {axis}));
        std::vector<double> x(80, 1.0);
        x[axis == 0 ? 2 * at : at] = std::numeric_limits<double>::quiet_NaN();
        const auto y = run(graph, x);
        EXPECT_TRUE(std::isnan(y[0])) << name_of(dtype) << " " << axis << " " << at;
        EXPECT_EQ(y[1], 1.0);
      }
    }
  }
}

TEST(Reduce, TiedMaximaShareTheGradient) {
  Graph graph;
  const ValueId x = graph.input("x", {DType::kF32, {2, 4}});
  const ValueId y = reduce_max(graph, x, {1});
  const ValueId dy = graph.input("dy", {DType::kF32, {2}});
  graph.output("dx", differentiate(graph, std::vector{y}, std::vector{dy}, std::vector{x})[0]);
  auto found =
      run_graph(graph, test_registry(), test_device(), {{"x", {1, 3, 3, 0, 5, 5, 5, 5}}, {"dy", {1, -8}}});
  EXPECT_EQ(found["dx"], (std::vector<double>{0, 0.5, 0.5, 0, -2, -2, -2, -2}));
}

struct Big {
  Shape shape;
  std::vector<int> axes;
};

std::vector<Big> big_cases() {
  return {{{300, 401}, {0}}, {{300, 401}, {1}}, {{300, 400}, {1}}, {{31, 45, 77}, {1}}, {{31, 45, 77}, {0, 2}},
          {{120000}, {}}, {{120001}, {}}, {{3, 60000}, {1}}, {{3, 50001}, {1}}, {{2000, 24}, {0}}, {{40, 60, 16}, {1}},
          {{6, 50, 4, 30}, {1, 3}}, {{6, 50, 4, 30}, {0, 2}}, {{30, 2, 700, 3}, {0, 2}}};
}

// Whole numbers, whose sums are exact in any order.
TEST(Reduce, CountsEveryElementOnceOnAllDevicesAndNumbersOfThreads) {
  KernelRegistry of_cpu;
  register_reduce_cpu(of_cpu);
  for (const Big& big : big_cases()) {
    std::vector<double> x;
    for (std::int64_t i = 0; i < big.shape.elements(); ++i) x.push_back(i * 7 % 11 - 5.0);
    Graph graph;
    const ValueId in = graph.input("x", {DType::kF32, big.shape});
    graph.output("y", reduce_sum(graph, in, big.axes));
    const ReduceOp op(ReduceKind::kSum, big.axes, false);
    const auto expected = reference(ReduceKind::kSum, big.shape, op.reduced(big.shape), {x})[0];
    EXPECT_EQ(run(graph, x), expected) << big.shape << " " << op.attributes();
    for (const int threads : {1, 2, 3}) {
      CpuDevice cpu(threads);
      EXPECT_EQ(run_graph(graph, of_cpu, cpu, {{"x", x}})["y"], expected) << big.shape << " " << op.attributes();
    }
  }
}

// Forward and backward, with many equal maxima; in memory that is not aligned as well.
TEST(Reduce, AgreesWithTheCpuHoweverItIsCut) {
  KernelRegistry of_cpu;
  register_reduce_cpu(of_cpu);
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    for (const Big& big : big_cases()) {
      for (const ReduceKind kind : {ReduceKind::kMean, ReduceKind::kMax}) {
        const ReduceOp op(kind, big.axes, true);
        SCOPED_TRACE(text(name_of(dtype), big.shape, " ", op.to_string()));
        const TensorType x{dtype, big.shape}, y = op.infer(std::vector{x})[0];
        const auto compare = [&](const Op& op, const std::vector<TensorType>& inputs, const Tensors& values,
                                 const TensorType& output) -> std::vector<double> {
          OpRun run{inputs, {output}};
          CpuDevice cpu;
          const auto expected = run_op(op, run, of_cpu, cpu, values)[0];
          const Tensors found = run_op(op, run, test_registry(), test_device(), values);
          for (std::size_t i = 0; i < expected.size(); ++i) {
            EXPECT_NEAR(found[0][i], expected[i], tolerance(dtype, 16) * (1e-2 + std::abs(expected[i]))) << i;
          }
          run.offset = 4;
          EXPECT_EQ(run_op(op, run, test_registry(), test_device(), values), found);
          return found[0];
        };
        std::vector<double> values, dy;
        for (std::int64_t i = 0; i < big.shape.elements(); ++i) {
          values.push_back(static_cast<double>(i * i % 1009 % 31) / 16);
        }
        for (std::int64_t i = 0; i < y.elements(); ++i) dy.push_back(0.5 + static_cast<double>(i % 5));
        const auto maxima = compare(op, {x}, {values}, y);
        if (kind == ReduceKind::kMean) {
          compare(SumBackwardOp(big.shape, 0.125), {y}, {dy}, x);
        } else {
          compare(MaxBackwardOp(), {y, y, x}, {dy, maxima, values}, x);
        }
      }
    }
  }
}

TEST(Reduce, RefusesWhatItCannotDo) {
  Graph graph;
  const ValueId x = graph.input("x", {DType::kF32, {2, 0}});
  auto message = [](const auto& action) -> std::string {
    try {
      action();
    } catch (const Error& error) {
      return error.what();
    }
    return "nothing was thrown";
  };
  EXPECT_EQ(message([&] { reduce_sum(graph, x, {2}, false, "s"); }),
            "s (reduce_sum): axis 2 is not one of the input (2, 0)");
  EXPECT_EQ(message([&] {
              reduce_sum(graph, x, {1, -1}, false, "s");
            }),
            "s (reduce_sum): axis -1 is named twice");
  EXPECT_EQ(message([&] { reduce_max(graph, x, {1}, false, "m"); }),
            "m (reduce_max): input f32(2, 0) has no elements along the reduced axes, expected one "
            "at least");
}

}  // namespace
}  // namespace lockstep::testing
