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

#include "core/base/range.h"

namespace lockstep {

enum class SampleOrder {
  kShuffled,    // Fisher and Yates' shuffle of all samples, new in every epoch
  kSequential,  // 0, 1, 2, ...
  kWindow,      // blocks are shuffled, and the samples of a few at a time (datasets/window_order.h)
};

// Fills `out` with a permutation of 0 .. out.size() - 1, in O(out.size()) steps. REQUIRES: not kWindow.
void fill_epoch_order(SampleOrder order, std::uint64_t seed, std::int64_t epoch,
                      std::span<std::int64_t> out);

// Number of batches in an epoch. REQUIRES: global_batch >= 1.
std::int64_t batches_per_epoch(std::int64_t count, std::int64_t global_batch);

// Positions of batch `batch` in the order of its epoch. REQUIRES: 0 <= batch < batches_per_epoch().
Range batch_positions(std::int64_t count, std::int64_t global_batch, std::int64_t batch);

}  // namespace lockstep
