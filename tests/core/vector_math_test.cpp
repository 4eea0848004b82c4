// The vectorised functions against libm in double: a sample of all floats, and the special ones.
#include "core/base/vector_math.h"

#include <gtest/gtest.h>

#include <limits>
#include <vector>

namespace lockstep {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// The worst error in units of the last place of the exact value, over every 997th bit pattern.
template <typename Function, typename Exact>
double worst_error(const Function& function, const Exact& exact) {
  constexpr std::size_t kBlock = 4096;
  std::vector<float> x(kBlock), y(kBlock);
  double worst = 0;
  for (std::uint64_t first = 0; first < 1ull << 32; first += kBlock * 997) {
    for (std::size_t i = 0; i < kBlock; ++i) {
      x[i] = std::bit_cast<float>(static_cast<std::uint32_t>(first + i * 997));
    }
    for (std::size_t i = 0; i < kBlock; ++i) y[i] = function(x[i]);
    for (std::size_t i = 0; i < kBlock; ++i) {
      const double expected = exact(static_cast<double>(x[i]));
      if (std::isnan(expected)) {
        EXPECT_TRUE(std::isnan(y[i])) << x[i];
      } else if (std::isinf(static_cast<float>(expected)) || expected == 0) {
        EXPECT_EQ(y[i], static_cast<float>(expected)) << x[i];
      } else {
        const int exponent = std::max(std::ilogb(expected), -126);
        worst = std::max(worst, std::abs(y[i] - expected) / std::ldexp(1.0, exponent - 23));
      }
    }
  }
  return worst;
}

// exp(x) where it is a normal float, else 0.
double normal_exp(double x) {
  return x < -87.3365f ? 0.0 : std::exp(x);
}

TEST(VectorMath, Exp) {
  EXPECT_LT(worst_error([](float x) { return vector_math::exp(x); },
                        [](double x) { return std::exp(x); }),
            1.0);
  EXPECT_EQ(vector_math::exp(0.0f), 1.0f);
  EXPECT_EQ(vector_math::exp(-kInfinity), 0.0f);
  EXPECT_EQ(vector_math::exp(kInfinity), kInfinity);
  EXPECT_EQ(vector_math::exp(88.72283f), std::exp(88.72283f));
  EXPECT_EQ(vector_math::exp(88.73f), kInfinity);
  EXPECT_EQ(vector_math::exp(-103.0f), std::exp(-103.0f));  // the smallest denormal number
}

TEST(VectorMath, Tanh) {
  EXPECT_LT(worst_error([](float x) { return vector_math::tanh(x); },
                        [](double x) { return std::tanh(x); }),
            2.4);
  EXPECT_EQ(vector_math::tanh(kInfinity), 1.0f);
  EXPECT_EQ(vector_math::tanh(-kInfinity), -1.0f);
  EXPECT_TRUE(std::signbit(vector_math::tanh(-0.0f)));
}

TEST(VectorMath, Sigmoid) {
  EXPECT_LT(worst_error([](float x) { return vector_math::sigmoid(x); },
                        [](double x) {
                          return x < 0 ? normal_exp(x) / (1 + normal_exp(x))
                                       : 1 / (1 + std::exp(-x));
                        }),
            2.4);
  EXPECT_EQ(vector_math::sigmoid(kInfinity), 1.0f);
  EXPECT_EQ(vector_math::sigmoid(-kInfinity), 0.0f);
  EXPECT_EQ(vector_math::sigmoid(0.0f), 0.5f);
}

TEST(VectorMath, ExpOfNonpositive) {
  EXPECT_LT(worst_error([](float x) { return vector_math::exp_nonpositive(-std::abs(x)); },
                        [](double x) { return normal_exp(-std::abs(x)); }),
            1.0);
  EXPECT_EQ(vector_math::exp_nonpositive(0.0f), 1.0f);
  EXPECT_EQ(vector_math::exp_nonpositive(-kInfinity), 0.0f);
  EXPECT_EQ(vector_math::exp_nonpositive(-88.0f), 0.0f);
}

// A vectorised loop and single calls give the same bits at every place of the vector.
TEST(VectorMath, BitsDoNotDependOnThePlace) {
  std::vector<float> x(67), y(67);
  for (int shift = 0; shift < 8; ++shift) {
    for (int i = 0; i < 67; ++i) x[i] = static_cast<float>((i + shift) % 13) * 0.37f - 2.0f;
    for (int i = 0; i < 67; ++i) y[i] = vector_math::exp(x[i]) + vector_math::tanh(x[i]);
    for (int i = 13; i < 67; ++i) EXPECT_EQ(y[i], y[i - 13]);
  }
}

}  // namespace
}  // namespace lockstep
