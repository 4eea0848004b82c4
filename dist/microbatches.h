// How a global batch is cut into microbatches, and which worker computes which. Pure functions: sizes depend on
// the batch and M only, never on the number of workers.
#pragma once

#include <cstdint>

namespace lockstep {

// Items [begin, end).
struct Range {
  std::int64_t begin = 0, end = 0;
  std::int64_t size() const { return end - begin; }
  bool operator==(const Range&) const = default;
};

// The part of `count` items that belongs to piece `index` of `pieces`: contiguous, sizes differ by one at most.
inline Range piece_of(std::int64_t count, std::int64_t pieces, std::int64_t index) {
  return {count * index / pieces, count * (index + 1) / pieces};
}

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
