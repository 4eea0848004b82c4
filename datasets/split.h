// A dataset cut in two by a seed. The cut is a pure function of its arguments: it is the same on
// every rank, machine and run.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace lockstep {

// Numbers of samples, ascending in each part; every sample is in exactly one.
struct Split {
  std::vector<std::int64_t> train;
  std::vector<std::int64_t> test;
};

// The test part has round(count * test_fraction) samples, but leaves at least one in each part
// where count is at least 2. Throws bad_input unless 0 < test_fraction < 1 and count >= 2.
Split split(std::uint64_t seed, std::int64_t count, double test_fraction);

// The same, with the share of every label in the test part as near to test_fraction as whole
// samples allow (largest remainders first, then the smaller label).
Split split_stratified(std::uint64_t seed, std::span<const std::int32_t> labels,
                       double test_fraction);

}  // namespace lockstep
