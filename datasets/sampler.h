// The order of samples in an epoch: a pure function of (seed, epoch, count), so it depends on
// neither ranks nor threads, and a run can go on at any batch.
//
// Batch k of an epoch is the positions [k * B, min((k + 1) * B, count)) of the order: a remainder
// is neither padded nor dropped.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace lockstep {

enum class SampleOrder {
  kShuffled,    // Fisher and Yates' shuffle of all samples, new in every epoch
  kSequential,  // 0, 1, 2, ...
};

// Fills `out` with a permutation of 0 .. out.size() - 1, in O(out.size()) steps.
void fill_epoch_order(SampleOrder order, std::uint64_t seed, std::int64_t epoch,
                      std::span<std::int64_t> out);

// Positions [begin, end).
struct SampleRange {
  std::int64_t begin = 0;
  std::int64_t end = 0;

  std::int64_t size() const { return end - begin; }
  bool operator==(const SampleRange&) const = default;
};

// Number of batches in an epoch. REQUIRES: global_batch >= 1.
std::int64_t batches_per_epoch(std::int64_t count, std::int64_t global_batch);

// Positions of batch `batch` in the order of its epoch. REQUIRES: 0 <= batch < batches_per_epoch().
SampleRange batch_positions(std::int64_t count, std::int64_t global_batch, std::int64_t batch);

}  // namespace lockstep
