// Softmax along the last and along other axes.
#include "ops/softmax/softmax.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "core/base/error.h"
#include "tests/core/run_graph.h"
#include "tests/ops/op_test.h"
#include "tests/test_device.h"

namespace lockstep::testing {
namespace {

OpCase case_of(const std::string& name, const Shape& shape, int axis) {
  const int at = axis < 0 ? axis + shape.rank() : axis;
  const std::int64_t n = shape[at], inner = shape.elements(at + 1, shape.rank());
  const bool trivial = n == 1;  // the result is 1 whatever the input is
  return {.name = name,
          .op = std::make_shared<SoftmaxOp>(axis),
          .inputs = {{DType::kF32, shape}},
          .reference =
              [n, inner](const Tensors& in) {
                Tensors out = {in[0]};
                std::vector<double>& y = out[0];
                const auto count = static_cast<std::int64_t>(y.size());
                for (std::int64_t i = 0; i < count; ++i) {
                  const std::int64_t first = i / (n * inner) * n * inner + i % inner;
                  double sum = 0;
                  for (std::int64_t j = 0; j < n; ++j) sum += std::exp(in[0][first + j * inner]);
                  y[i] = std::exp(in[0][i]) / sum;
                }
                return out;
              },
          .low = -3,
          .high = 3,
          .reduction_length = static_cast<double>(n),
          .bf16 = false,
          .gradient = !trivial};
}

TEST(Softmax, AgreesWithItsDefinition) {
  check_ops({case_of("one", {1, 1}, -1), case_of("one class", {5, 1}, -1),
             case_of("two classes", {1, 2}, 1), case_of("ten classes", {7, 10}, -1),
             case_of("long", {2, 203}, -1), case_of("vector", {33}, 0),
             case_of("first axis", {6, 9}, 0), case_of("middle axis", {2, 5, 7}, 1),
             case_of("wide inner axes", {2, 3, 131}, -2), case_of("no rows", {0, 4}, -1),
             case_of("no inner elements", {3, 4, 0}, 1)});
}

std::vector<double> softmax_of(const std::vector<double>& logits) {
  Graph graph;
  const auto n = static_cast<std::int64_t>(logits.size());
  graph.output("y", softmax(graph, graph.input("x", {DType::kF32, {1, n}})));
  return run_graph(graph, test_registry(), test_device(), {{"x", logits}})["y"];
}

TEST(Softmax, IsStableForLogitsOfAnySize) {
  EXPECT_EQ(softmax_of({1e30, 0, -1e30}), (std::vector<double>{1, 0, 0}));
  EXPECT_EQ(softmax_of({-1e30, -1e30}), (std::vector<double>{0.5, 0.5}));
  const double infinity = std::numeric_limits<double>::infinity();
  EXPECT_EQ(softmax_of({0, -infinity}), (std::vector<double>{1, 0}));
  std::vector<double> row(20, 1.0);
  row[3] = std::numeric_limits<double>::quiet_NaN();
  for (const double value : softmax_of(row)) EXPECT_TRUE(std::isnan(value));
}

// Rows and columns of all lengths, in place and in memory that is not aligned.
TEST(Softmax, AgreesWithTheCpuHoweverItIsCut) {
  KernelRegistry of_cpu;
  register_softmax_cpu(of_cpu);
  struct Cut {
    Shape shape;
    int axis;
  };
  for (const Cut& cut : {Cut{{2, 40'004}, -1}, Cut{{2, 32'000}, -1}, Cut{{3, 20'004}, -1}, Cut{{2, 12'000}, -1}, Cut{{2, 9001}, -1}, Cut{{3, 1028}, -1}, Cut{{2, 515}, -1}, Cut{{70, 128}, -1},
                         Cut{{300, 12}, -1}, Cut{{2, 300, 5}, 1}, Cut{{130, 3, 40}, 1}, Cut{{1000, 3}, 0}}) {
    const TensorType type{DType::kF32, cut.shape};
    SCOPED_TRACE(text(type.to_string(), " axis ", cut.axis));
    Tensors x(2);
    for (std::int64_t i = 0; i < cut.shape.elements(); ++i) {
      x[0].push_back(5 * std::sin(0.7 * static_cast<double>(i * i % 1009)));
      x[1].push_back(std::cos(0.3 * static_cast<double>(i * i % 911)));
    }
    const auto compare = [&](const Op& op, std::vector<TensorType> inputs, const Tensors& values) -> std::vector<double> {
      OpRun run{std::move(inputs), {type}};
      CpuDevice cpu;
      const Tensors expected = run_op(op, run, of_cpu, cpu, values);
      const Tensors found = run_op(op, run, test_registry(), test_device(), values);
      for (std::size_t i = 0; i < found[0].size(); ++i) {
        EXPECT_NEAR(found[0][i], expected[0][i], 1e-5 * std::abs(expected[0][i]) + 1e-7) << i;
      }
      run.in_place = true;
      EXPECT_EQ(run_op(op, run, test_registry(), test_device(), values), found);
      run.offset = 4;
      EXPECT_EQ(run_op(op, run, test_registry(), test_device(), values), found);
      return found[0];
    };
    const auto y = compare(SoftmaxOp(cut.axis), {type}, {x[0]});
    compare(SoftmaxBackwardOp(cut.axis), {type, type}, {x[1], y});
  }
}

TEST(Softmax, InfinityAndNanAreSeenInLongRowsAndColumns) {
  for (const Shape& shape : {Shape{1, 40'000}, Shape{1, 20'000}, Shape{300, 2}}) {
    const TensorType type{DType::kF32, shape};
    for (const double bad : {std::numeric_limits<double>::infinity(), std::numeric_limits<double>::quiet_NaN()}) {
      std::vector<double> x(shape.elements(), -std::numeric_limits<double>::infinity());
      x[38] = bad;
      x[40] = 1.0;
      const auto y = run_op(SoftmaxOp(shape[1] == 2 ? 0 : 1), {{type}, {type}}, test_registry(), test_device(), {x})[0];
      for (std::size_t i = 0; i < y.size(); i += 2) EXPECT_TRUE(std::isnan(y[i])) << i;
    }
    std::vector<double> x(shape.elements(), -std::numeric_limits<double>::infinity()), expected(x.size(), 0.0);
    x[40] = x[41] = 1.0;
    expected[40] = expected[41] = shape[1] == 2 ? 1.0 : 0.5;
    EXPECT_EQ(run_op(SoftmaxOp(shape[1] == 2 ? 0 : 1), {{type}, {type}}, test_registry(), test_device(), {x})[0], expected);
  }
}

TEST(Softmax, RefusesAnAxisThatIsNotThere) {
  Graph graph;
  const ValueId x = graph.input("x", {DType::kF32, {2, 3}});
  try {
    softmax(graph, x, 2, "s");
    FAIL() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "s (softmax): axis 2 is not one of the input f32(2, 3)");
  }
}

}  // namespace
}  // namespace lockstep::testing
