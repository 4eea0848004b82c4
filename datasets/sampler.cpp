#include "datasets/sampler.h"

#include <algorithm>
#include <numeric>

#include "core/base/error.h"
#include "datasets/shuffle.h"

namespace lockstep {

void fill_epoch_order(SampleOrder order, std::uint64_t seed, std::int64_t epoch,
                      std::span<std::int64_t> out) {
  std::iota(out.begin(), out.end(), std::int64_t{0});
  if (order == SampleOrder::kSequential) return;
  shuffle(RandomStream(seed, Purpose::kShuffle), static_cast<std::uint32_t>(epoch), 0, out);
}

std::int64_t batches_per_epoch(std::int64_t count, std::int64_t global_batch) {
  require(global_batch >= 1, "a global batch of ", global_batch);
  return (count + global_batch - 1) / global_batch;
}

Range batch_positions(std::int64_t count, std::int64_t global_batch, std::int64_t batch) {
  const std::int64_t batches = batches_per_epoch(count, global_batch);
  require(batch >= 0 && batch < batches, "batch ", batch, " of ", batches);
  return {batch * global_batch, std::min((batch + 1) * global_batch, count)};
}

}  // namespace lockstep
