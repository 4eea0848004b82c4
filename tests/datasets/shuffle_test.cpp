#include "datasets/shuffle.h"

#include <gtest/gtest.h>

#include <numeric>
#include <utility>
#include <vector>

namespace lockstep {
namespace {

std::vector<std::int64_t> counted(std::size_t size) {
  std::vector<std::int64_t> values(size);
  std::iota(values.begin(), values.end(), std::int64_t{0});
  return values;
}

// One draw after another, as the header says.
std::vector<std::int64_t> one_by_one(const RandomStream& random, std::uint32_t step, std::uint64_t first, std::size_t size) {
  std::vector<std::int64_t> values = counted(size);
  for (std::size_t i = size; i-- > 1;) std::swap(values[i], values[random.below(i + 1, step, first + i)]);
  return values;
}

TEST(Shuffle, IsOneDrawForEachPosition) {
  const RandomStream random(7, Purpose::kShuffle, 3);
  for (const std::uint64_t first : {std::uint64_t{0}, std::uint64_t{5}, std::uint64_t{16}, (std::uint64_t{1} << 32) - 40}) {
    for (const std::size_t size : {0, 1, 2, 15, 16, 17, 33, 1000}) {
      std::vector<std::int64_t> values = counted(size);
      shuffle(random, 2, first, values);
      EXPECT_EQ(values, one_by_one(random, 2, first, size)) << size << " values, counters from " << first;
    }
  }
}

}  // namespace
}  // namespace lockstep
