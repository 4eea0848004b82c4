// What the elementwise CUDA kernels compute on the way: divisions of indices. Compiled for the CPU (tests/emulator).
#include "core/kernel/cuda_elementwise.h"

#include <gtest/gtest.h>

#include <vector>

#include "core/base/random.h"

namespace lockstep {
namespace {

constexpr std::int64_t kLargest = std::int64_t{1} << 62;

TEST(Divisor, DividesWhatIsBelowItsLimit) {
  const std::vector<std::int64_t> limits = {1,         2,          1000,       (1 << 16) + 1, (1LL << 31) - 1,
                                            1LL << 31, 1LL << 32, 1LL << 40, kLargest};
  const std::vector<std::int64_t> divisors = {1, 2, 3, 7, 10, 64, 1000, 65537, (1LL << 31) - 1, 1LL << 31, kLargest - 1};
  for (const std::int64_t limit : limits) {
    for (const std::int64_t by : divisors) {
      const Divisor divisor(by, limit);
      const std::int64_t last = (limit - 1) / by * by;
      for (const std::int64_t n : {std::int64_t{0}, limit - 1, last, last - 1, limit / 2, limit / 3}) {
        if (n < 0) continue;
        EXPECT_EQ(divisor.quotient(n), n / by) << n << " / " << by << ", limit " << limit;
        EXPECT_EQ(divisor.remainder(n), n % by) << n << " % " << by << ", limit " << limit;
      }
    }
  }
}

TEST(Divisor, DividesNumbersOfAnySize) {
  const RandomStream random(3, Purpose::kSynthesize);
  auto number = [&](std::uint64_t i, std::uint64_t bound) {
    return static_cast<std::int64_t>(random.below(bound, 0, i));
  };
  for (std::uint64_t i = 0; i < 20000; ++i) {
    const std::int64_t limit = 1 + number(4 * i, std::uint64_t{1} << number(4 * i + 1, 63));
    const std::int64_t by = 1 + number(4 * i + 2, static_cast<std::uint64_t>(limit));
    const std::int64_t n = number(4 * i + 3, static_cast<std::uint64_t>(limit));
    ASSERT_EQ(Divisor(by, limit).quotient(n), n / by) << n << " / " << by << ", limit " << limit;
  }
}

TEST(Divisor, OfNothingDividesByOne) { EXPECT_EQ(Divisor(0, 0).divisor, 1); }

}  // namespace
}  // namespace lockstep
