// Reductions with vectors of eight floats: every length, f32 and bf16.
#include "core/base/lanes.h"

#include <gtest/gtest.h>

#include <limits>
#include <vector>

namespace lockstep {
namespace {

// Whole numbers, whose sums are exact in any order.
template <typename T>
void check_every_length() {
  for (std::int64_t n = 0; n < 150; ++n) {
    std::vector<T> x;
    float sum = 0, squares = 0, largest = -std::numeric_limits<float>::infinity();
    for (std::int64_t i = 0; i < n; ++i) {
      const auto value = static_cast<float>(i * 37 % 101 - 60);
      x.push_back(T(value));
      sum += value;
      squares += value * value;
      largest = std::max(largest, value);
    }
    EXPECT_EQ(sum_lanes(x.data(), n), sum) << n;
    EXPECT_EQ(dot_lanes(x.data(), x.data(), n), squares) << n;
    EXPECT_EQ(max_lanes(x.data(), n), largest) << n;
  }
}

TEST(Lanes, ReduceEveryLength) {
  check_every_length<float>();
  check_every_length<BFloat16>();
}

TEST(Lanes, MaxFindsEveryPlaceAndPassesOverNan) {
  for (int at = 0; at < 75; ++at) {
    std::vector<float> x(75, -2.0f);
    x[at] = -1.0f;
    x[(at + 10) % 75] = std::numeric_limits<float>::quiet_NaN();
    EXPECT_EQ(max_lanes(x.data(), 75), -1.0f) << at;
  }
}

TEST(Lanes, SumLosesLittleOnLongInput) {
  const std::vector<float> x(1 << 22, 0.1f);
  EXPECT_NEAR(sum_lanes(x.data(), 1 << 22), 0.1f * double(1 << 22), 4.0);
}

}  // namespace
}  // namespace lockstep
