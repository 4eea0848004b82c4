// How a global batch is cut into microbatches, and which worker computes which. Pure functions: sizes depend on
// the batch and M only, never on the number of workers.
#pragma once

#include <cstdint>

#include "core/base/range.h"

namespace lockstep {

// A batch of `samples` cut into M microbatches (fewer where there are fewer samples: none is empty).
struct Microbatches {
  std::int64_t samples = 0, count = 0;

  Microbatches(std::int64_t batch_samples, std::int64_t microbatches)
      : samples(batch_samples), count(microbatches < batch_samples ? microbatches : batch_samples) {}

  Range samples_of(std::int64_t microbatch) const { return piece_of(samples, count, microbatch); }
  // The microbatches that a rank computes, one after another; may be none.
  Range of_rank(int rank, int world_size) const { return piece_of(count, world_size, rank); }
  // The samples of those microbatches.
  Range samples_of_rank(int rank, int world_size) const {
    const Range mine = of_rank(rank, world_size);
    if (mine.size() == 0) return {0, 0};
    return {samples_of(mine.begin).begin, samples_of(mine.end - 1).end};
  }
};

}  // namespace lockstep
