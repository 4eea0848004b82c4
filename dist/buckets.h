// Buckets: neighbouring parameters that are exchanged and updated together. Each bucket is one flat f32 state; its
// parameters are views of it, in the order in which their gradients become ready (last layer first), but those that
// do not fill whole lines of memory come after all that do, which so begin on lines. The gradient of a bucket has the same
// order, so it is exchanged without packing.
//
// Each rank owns one chunk of each bucket (ZeRO stage 1; Rajbhandari et al., SC 2020): it finishes the sum of the
// gradients there, keeps the optimizer's moments of it, and updates it. Chunks begin at blocks: at most kNormBlock
// elements of one parameter, counted from its begin.
//
// Parameters and statistics of frozen layers lie in buckets of their own, which are neither exchanged nor updated.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "datasets/microbatches.h"
#include "ops/layers/layer.h"
#include "ops/optimizers/optimizer.h"

namespace lockstep {

// Small enough that the exchange begins early in the backward pass and a chunk stays in a core's cache between sum, update
// and gather; large enough that the cost of each exchange (microseconds) does not count.
inline constexpr std::int64_t kDefaultBucketBytes = std::int64_t{1} << 20;

// A parameter or statistic inside a bucket.
struct BucketSlot {
  std::string name;
  Shape shape;
  std::int64_t offset = 0;  // elements from the start of the bucket
  bool decays = false;
};

struct Bucket {
  std::string state;  // name of the flat state: "parameters/0", "statistics/0.99", "parameters/frozen"
  std::vector<BucketSlot> slots = {};
  std::int64_t elements = 0;
  bool is_statistics = false;  // updated by a moving average of `momentum`, not by the optimizer
  double momentum = 0;
  bool is_frozen = false;  // never changes: no gradient, no moments

  // Where each block begins, and `elements` at the end.
  std::vector<std::int64_t> block_begins() const;
  // The blocks of a rank's chunk, by number.
  Range blocks_of(int rank, int world_size) const;
  Range chunk(int rank, int world_size) const;
  // Where weight decay acts, relative to the start of the rank's chunk.
  std::vector<Segment> decay_segments(int rank, int world_size) const;
  // Name of the state with a moment of this bucket: "m/0". It holds the rank's chunk only.
  std::string moment(const std::string& slot) const;
};

// Closes a bucket when it holds at least `bucket_bytes`. Then come the statistics, one bucket for each momentum, and last
// what is frozen: a bucket of parameters, a bucket of statistics.
std::vector<Bucket> make_buckets(const std::vector<ParameterSpec>& parameters,
                                 const std::vector<StatisticSpec>& statistics,
                                 std::size_t bucket_bytes);

// Those that a step changes: all before the frozen ones.
std::span<const Bucket> updated_buckets(const std::vector<Bucket>& buckets);

}  // namespace lockstep
