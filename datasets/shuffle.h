// The shuffle behind every random order of samples.
#pragma once

#include <cstdint>
#include <span>

#include "core/base/random.h"

namespace lockstep {

// Fisher and Yates' shuffle (R. Durstenfeld, "Algorithm 235: Random permutation", 1964). Position i is exchanged with
// random.below(i + 1, step, first + i).
void shuffle(const RandomStream& random, std::uint32_t step, std::uint64_t first, std::span<std::int64_t> values);

}  // namespace lockstep
