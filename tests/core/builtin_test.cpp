// The builtin ops: shape rules, values, gradients.
#include "core/builtin/builtin.h"

#include <gtest/gtest.h>

#include <cmath>

#include "core/base/error.h"
#include "core/device/cpu_device.h"
#include "core/passes/autodiff.h"
#include "tests/core/run_graph.h"
#include "tests/core/toy_ops.h"
#include "tests/test_device.h"

namespace lockstep {
namespace {

using namespace lockstep::testing;
using Values = std::vector<double>;
using Feeds = std::map<std::string, Values>;

class BuiltinTest : public ::testing::Test {
 protected:
  Values result(const Feeds& feeds, const std::string& output = "y") {
    graph_.verify();
    return run(feeds).at(output);
  }

  Feeds run(const Feeds& feeds) { return run_graph(graph_, test_registry(), test_device(), feeds); }

  template <typename Body>
  std::string error_of(const Body& body) {
    try {
      body();
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kBadInput);
      return error.what();
    }
    return "no error";
  }

  // d y / d x of the graph so far with the cotangent `dy`, as an input.
  ValueId gradient(ValueId y, ValueId x) {
    const ValueId dy = graph_.input("dy", graph_.type(y));
    return differentiate(graph_, {{y}}, {{dy}}, {{x}})[0];
  }

  Graph graph_;
};

TEST_F(BuiltinTest, FillGivesEveryElementTheValue) {
  graph_.output("f32", fill(graph_, f32({3}), 0.1));
  graph_.output("bf16", fill(graph_, bf16({2}), 1.5));
  graph_.output("i32", fill(graph_, {DType::kI32, {2}, nullptr}, -7));
  graph_.output("i64", fill(graph_, {DType::kI64, {}, nullptr}, 1e15));
  graph_.output("empty", fill(graph_, f32({0, 4}), 1));
  const Feeds results = run({});
  EXPECT_EQ(results.at("f32"), Values(3, static_cast<double>(0.1f)));
  EXPECT_EQ(results.at("bf16"), Values(2, 1.5));
  EXPECT_EQ(results.at("i32"), Values(2, -7));
  EXPECT_EQ(results.at("i64"), Values(1, 1e15));
  EXPECT_TRUE(results.at("empty").empty());
}

TEST_F(BuiltinTest, FillOfATypeWithoutAKernelIsRefused) {
  graph_.output("y", fill(graph_, {DType::kU8, {2}, nullptr}, 1));
  EXPECT_EQ(error_of([&] { result({}); }), "fill: no kernel for u8(2)");
}

TEST_F(BuiltinTest, CastRoundsToNearestEven) {
  const ValueId x = graph_.input("x", f32({4}));
  graph_.output("y", cast(graph_, cast(graph_, x, DType::kBF16), DType::kF32));
  // bf16 has 8 bits: between 256 and 258 lies 257, which rounds to the even 256; 259 to 260.
  EXPECT_EQ(result({{"x", {257, 259, -0.5, INFINITY}}}), (Values{256, 260, -0.5, INFINITY}));
}

TEST_F(BuiltinTest, CastReadsIntegers) {
  const ValueId bytes = graph_.input("bytes", {DType::kU8, {2}, nullptr});
  const ValueId ints = graph_.input("ints", {DType::kI32, {2}, nullptr});
  graph_.output("bytes", cast(graph_, bytes, DType::kF32));
  graph_.output("ints", cast(graph_, ints, DType::kF32));
  const Feeds results = run({{"bytes", {0, 255}}, {"ints", {-5, 70000}}});
  EXPECT_EQ(results.at("bytes"), (Values{0, 255}));
  EXPECT_EQ(results.at("ints"), (Values{-5, 70000}));
}

TEST_F(BuiltinTest, CastWithoutAKernelIsRefused) {
  const ValueId x = graph_.input("x", {DType::kI64, {1}, nullptr});
  graph_.output("y", cast(graph_, x, DType::kF32));
  EXPECT_EQ(error_of([&] { result({{"x", {1}}}); }), "cast: no kernel from i64 to f32");
}

TEST_F(BuiltinTest, CastToItsOwnTypeIsNoNode) {
  const ValueId x = graph_.input("x", f32({4}));
  EXPECT_EQ(cast(graph_, x, DType::kF32), x);
  EXPECT_TRUE(graph_.nodes().empty());
}

TEST_F(BuiltinTest, TheGradientOfACastHasTheTypeOfItsInput) {
  const ValueId x = graph_.input("x", f32({2}));
  const ValueId dx = gradient(cast(graph_, x, DType::kBF16), x);
  EXPECT_EQ(graph_.type(dx), f32({2}));
  graph_.output("y", dx);
  EXPECT_EQ(result({{"x", {1, 2}}, {"dy", {3, 0.5}}}), (Values{3, 0.5}));
}

TEST_F(BuiltinTest, AccumulateAdds) {
  const ValueId a = graph_.input("a", f32({3})), b = graph_.input("b", f32({3}));
  graph_.output("y", accumulate(graph_, a, b));
  graph_.output("low",
                accumulate(graph_, cast(graph_, a, DType::kBF16), cast(graph_, b, DType::kBF16)));
  const Feeds feeds{{"a", {1, 2, 256}}, {"b", {0.5, -2, 1}}};
  EXPECT_EQ(result(feeds), (Values{1.5, 0, 257}));
  EXPECT_EQ(result(feeds, "low"), (Values{1.5, 0, 256}));
}

TEST_F(BuiltinTest, AccumulateRefusesWhatDiffers) {
  const ValueId a = graph_.input("a", f32({3})), b = graph_.input("b", bf16({3}));
  EXPECT_EQ(error_of([&] { accumulate(graph_, a, b, "sum"); }),
            "sum (accumulate): inputs f32(3) and bf16(3) differ, expected equal types");
  EXPECT_EQ(error_of([&] { graph_.add(std::make_shared<AccumulateOp>(), {a}, "sum"); }),
            "sum (accumulate): takes 2 inputs, got 1");
}

TEST_F(BuiltinTest, BothInputsOfAnAccumulateReceiveTheCotangent) {
  const ValueId a = graph_.input("a", f32({2})), b = graph_.input("b", f32({2}));
  const ValueId y = accumulate(graph_, a, b);
  const ValueId dy = graph_.input("dy", f32({2}));
  EXPECT_EQ(differentiate(graph_, {{y}}, {{dy}}, {{a, b}}), (std::vector<ValueId>{dy, dy}));
}

TEST_F(BuiltinTest, CopyAndItsGradientAreTheSameValues) {
  const ValueId x = graph_.input("x", f32({2}));
  const ValueId y = copy(graph_, x);
  const ValueId dx = gradient(y, x);
  EXPECT_EQ(dx, graph_.find_input("dy"));
  graph_.output("y", y);
  EXPECT_EQ(result({{"x", {1, 2}}, {"dy", {0, 0}}}), (Values{1, 2}));
}

TEST_F(BuiltinTest, CopyTakesAnyType) {
  const ValueId x = graph_.input("x", {DType::kI64, {2}, nullptr});
  graph_.output("y", copy(graph_, x));
  EXPECT_EQ(result({{"x", {-1, 1e15}}}), (Values{-1, 1e15}));
}

TEST_F(BuiltinTest, ViewsReadPartsInRowMajorOrder) {
  const ValueId x = graph_.input("x", f32({2, 3}));
  const ValueId part = view(graph_, x, {2, 2}, 1);
  graph_.output("y", copy(graph_, part));
  graph_.output("part of part", copy(graph_, view(graph_, part, {2}, 2)));
  const Feeds feeds{{"x", {0, 1, 2, 3, 4, 5}}};
  EXPECT_EQ(result(feeds), (Values{1, 2, 3, 4}));
  EXPECT_EQ(result(feeds, "part of part"), (Values{3, 4}));
}

TEST_F(BuiltinTest, AViewOfEverythingIsNoNode) {
  const ValueId x = graph_.input("x", f32({2, 3}));
  EXPECT_EQ(view(graph_, x, {2, 3}), x);
  EXPECT_NE(view(graph_, x, {6}), x);
}

TEST_F(BuiltinTest, ViewsThatDoNotFitAreRefused) {
  const ValueId x = graph_.input("x", f32({2, 3}));
  EXPECT_EQ(error_of([&] { view(graph_, x, {4}, 3, "part"); }),
            "part (view): shape (4) from element 3 does not fit in f32(2, 3)");
  EXPECT_EQ(error_of([&] { view(graph_, x, {1}, -1, "part"); }),
            "part (view): shape (1) from element -1 does not fit in f32(2, 3)");
  EXPECT_EQ(error_of([&] {
              graph_.add(std::make_shared<ViewOp>(Shape{2}, 1, DType::kBF16), {x}, "part");
            }),
            "part (view): input is f32(2, 3), expected elements of 2 bytes");
}

TEST_F(BuiltinTest, AReshapeTakesDataThatBecameBf16) {
  const ValueId x = graph_.input("x", bf16({2, 3}));
  const ValueId y = graph_.add(std::make_shared<ViewOp>(Shape{6}, 0, DType::kF32), {x});
  EXPECT_EQ(graph_.type(y), bf16({6}));
}

TEST_F(BuiltinTest, TheGradientOfAReshapeIsAReshape) {
  const ValueId x = graph_.input("x", f32({2, 3}));
  const ValueId dx = gradient(view(graph_, x, {6}), x);
  EXPECT_EQ(graph_.type(dx), f32({2, 3}));
  EXPECT_TRUE(graph_.node(graph_.value(dx).producer).op->traits().view);
}

TEST_F(BuiltinTest, APartHasNoGradient) {
  const ValueId x = graph_.input("x", f32({6}));
  const ValueId part = view(graph_, x, {2}, 1, "part");
  try {
    gradient(part, x);
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "part: a part of a value has no gradient");
  }
}

TEST_F(BuiltinTest, PackPutsValuesOneAfterAnother) {
  const ValueId a = graph_.input("a", f32({2})), b = graph_.input("b", f32({0}));
  const ValueId c = graph_.input("c", f32({1, 3}));
  const ValueId y = pack(graph_, {a, b, c, a});
  EXPECT_EQ(graph_.type(y), f32({7}));
  graph_.output("y", y);
  EXPECT_EQ(result({{"a", {1, 2}}, {"b", {}}, {"c", {3, 4, 5}}}), (Values{1, 2, 3, 4, 5, 1, 2}));
}

TEST_F(BuiltinTest, PackRefusesNothingAndMixedTypes) {
  const ValueId a = graph_.input("a", f32({2})), b = graph_.input("b", bf16({2}));
  EXPECT_EQ(error_of([&] { pack(graph_, {}, "p"); }), "p (pack): takes one input at least");
  EXPECT_EQ(error_of([&] {
              pack(graph_, {a, b}, "p");
            }),
            "p (pack): inputs f32(2) and bf16(2) differ in type");
}

TEST_F(BuiltinTest, NeitherThreadsNorTheDeviceChangeValues) {
  const std::int64_t count = (1 << 17) + 3;
  const ValueId x = graph_.input("x", f32({count}));
  const ValueId low = cast(graph_, x, DType::kBF16);
  graph_.output(
      "y", accumulate(graph_, cast(graph_, low, DType::kF32), fill(graph_, f32({count}), 0.25)));
  Values values(count);
  for (std::int64_t i = 0; i < count; ++i) values[i] = static_cast<double>(i % 1000) / 8;
  const auto found = run({{"x", values}});
  EXPECT_EQ(found.at("y")[7], values[7] + 0.25);
  const KernelRegistry registry = toy_registry();
  for (const int threads : {1, 2}) {
    CpuDevice device(threads);
    EXPECT_EQ(found, run_graph(graph_, registry, device, {{"x", values}}));
  }
}

}  // namespace
}  // namespace lockstep
