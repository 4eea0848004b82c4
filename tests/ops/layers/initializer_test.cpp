#include "ops/layers/initializer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "core/base/error.h"

namespace lockstep {
namespace {

const RandomStream kStream(42, Purpose::kInitialize, 7);

std::vector<float> filled(const Initializer& initializer, const Shape& shape,
                          const RandomStream& random = kStream) {
  std::vector<float> values(shape.elements());
  initializer.fill(values, shape, random);
  return values;
}

struct Moments {
  double mean = 0, deviation = 0, low = 0, high = 0;
};

Moments moments_of(const std::vector<float>& values) {
  Moments m{0, 0, values[0], values[0]};
  for (const double value : values) {
    m.mean += value / static_cast<double>(values.size());
    m.low = std::min(m.low, value);
    m.high = std::max(m.high, value);
  }
  for (const double value : values) {
    m.deviation += (value - m.mean) * (value - m.mean) / static_cast<double>(values.size());
  }
  m.deviation = std::sqrt(m.deviation);
  return m;
}

TEST(Initializer, Constants) {
  EXPECT_EQ(filled({.kind = "zeros"}, {2, 2}), std::vector<float>(4, 0.0f));
  EXPECT_EQ(filled({.kind = "ones"}, {3}), std::vector<float>(3, 1.0f));
  EXPECT_EQ(filled({.kind = "constant", .value = -0.25}, {5}), std::vector<float>(5, -0.25f));
  EXPECT_EQ(filled({.kind = "constant"}, {1}), std::vector<float>(1, 0.0f));
}

// A uniform distribution within the limit that the fans give, of deviation limit / sqrt(3); a
// normal one cut off at 2 / 0.8796 of its deviation.
void expect_distribution(const Initializer& initializer, const Shape& shape, double deviation) {
  const Moments m = moments_of(filled(initializer, shape));
  const bool uniform = initializer.kind.ends_with("uniform");
  const double limit = deviation * (uniform ? std::sqrt(3.0) : 2 / 0.87962566103423978);
  EXPECT_NEAR(m.mean, 0, 0.02 * deviation);
  EXPECT_NEAR(m.deviation, deviation, 0.01 * deviation);
  EXPECT_GE(m.low, -1.000001 * limit);
  EXPECT_LE(m.high, 1.000001 * limit);
  EXPECT_LT(m.low, -0.99 * limit);
  EXPECT_GT(m.high, 0.99 * limit);
}

TEST(Initializer, ScalesWithTheFans) {
  const Shape dense{200, 300}, conv{3, 5, 40, 100};
  for (const std::string tail : {"uniform", "normal"}) {
    SCOPED_TRACE(tail);
    expect_distribution({.kind = "glorot_" + tail}, dense, std::sqrt(2.0 / 500));
    expect_distribution({.kind = "he_" + tail}, dense, std::sqrt(2.0 / 200));
    expect_distribution({.kind = "lecun_" + tail}, dense, std::sqrt(1.0 / 200));
    expect_distribution({.kind = "glorot_" + tail}, conv, std::sqrt(2.0 / (15 * 140)));
    expect_distribution({.kind = "he_" + tail}, conv, std::sqrt(2.0 / (15 * 40)));
    expect_distribution({.kind = "he_" + tail, .fan_in = 50}, conv, std::sqrt(2.0 / 50));
    expect_distribution({.kind = "glorot_" + tail, .fan_in = 50, .fan_out = 70}, conv,
                        std::sqrt(2.0 / 120));
    expect_distribution({.kind = "glorot_" + tail}, {60'000}, std::sqrt(2.0 / 120'000));
  }
}

TEST(Initializer, UniformAndNormalTakeTheirSpread) {
  const Shape shape{60'000};
  expect_distribution({.kind = "uniform", .value = 0.5}, shape, 0.5 / std::sqrt(3.0));
  expect_distribution({.kind = "uniform"}, shape, 0.05 / std::sqrt(3.0));
  for (const double value : {0.0, 0.2}) {
    const double deviation = value == 0 ? 0.05 : value;
    const Moments m = moments_of(filled({.kind = "normal", .value = value}, shape));
    EXPECT_NEAR(m.mean, 0, 0.02 * deviation);
    EXPECT_NEAR(m.deviation, deviation, 0.01 * deviation);
    EXPECT_GT(m.high, 3 * deviation);  // not cut off
  }
}

TEST(Initializer, OrthogonalMatrices) {
  for (const Shape& shape : {Shape{1, 1}, Shape{5, 5}, Shape{70, 33}, Shape{33, 70},
                             Shape{3, 3, 4, 20}, Shape{1, 1, 8, 64}, Shape{7, 1}, Shape{1, 7}}) {
    const double gain = 1.5;
    const std::vector<float> q = filled({.kind = "orthogonal", .value = gain}, shape);
    const std::int64_t columns = shape[-1], rows = shape.elements() / columns;
    const bool tall = rows >= columns;
    const std::int64_t count = std::min(rows, columns), length = std::max(rows, columns);
    auto at = [&](std::int64_t vector, std::int64_t i) {
      return tall ? q[i * columns + vector] : q[vector * columns + i];
    };
    for (std::int64_t a = 0; a < count; ++a) {
      for (std::int64_t b = 0; b <= a; ++b) {
        double product = 0;
        for (std::int64_t i = 0; i < length; ++i) product += double{at(a, i)} * at(b, i);
        EXPECT_NEAR(product, a == b ? gain * gain : 0.0, 1e-6) << shape << " " << a << " " << b;
      }
    }
  }
}

TEST(Initializer, IsAPureFunctionOfItsArguments) {
  const RandomStream other(42, Purpose::kInitialize, 8);
  for (const std::string& kind : Initializer::kinds()) {
    const Initializer initializer{.kind = kind};
    EXPECT_EQ(filled(initializer, {9, 6}), filled(initializer, {9, 6})) << kind;
    const bool random = kind != "zeros" && kind != "ones" && kind != "constant";
    EXPECT_EQ(filled(initializer, {9, 6}) != filled(initializer, {9, 6}, other), random) << kind;
    EXPECT_TRUE(filled(initializer, {0, 6}).empty()) << kind;
  }
}

// Models that were trained with a seed must stay reproducible: these values never change.
TEST(Initializer, PinnedValues) {
  const Shape shape{2, 3};
  const struct {
    const char* kind;
    std::vector<float> expected;
  } cases[] = {{"glorot_uniform", {-0.4844986f, 0.0405129f, 0.1982514f}},
               {"he_normal", {-1.8046118f, -0.9367050f, -0.2151307f}},
               {"orthogonal", {-0.8826306f, -0.4581398f, -0.1052198f}}};
  for (const auto& c : cases) {
    const std::vector<float> found = filled({.kind = c.kind}, shape);
    for (std::size_t i = 0; i < c.expected.size(); ++i) {
      EXPECT_NEAR(found[i], c.expected[i], 1e-6) << c.kind << " " << i;
    }
  }
}

TEST(Initializer, RefusesWhatItCannotDo) {
  auto message = [](const Initializer& initializer, const Shape& shape) {
    try {
      filled(initializer, shape);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kBadInput);
      return std::string(error.what());
    }
    return std::string("no error");
  };
  EXPECT_EQ(message({.kind = "glorot_unifrom"}, {2, 2}),
            "initializer \"glorot_unifrom\" is not known; did you mean \"glorot_uniform\"?");
  EXPECT_EQ(message({.kind = "he_something_else"}, {2, 2}),
            "initializer \"he_something_else\" is not known");
  EXPECT_EQ(message({.kind = "orthogonal"}, {4}),
            "initializer orthogonal: shape (4) has fewer than 2 dimensions");
}

}  // namespace
}  // namespace lockstep
