#include "dist/buckets.h"

#include <algorithm>
#include <charconv>

#include "core/base/error.h"
#include "ops/optimizers/gradient_ops.h"

namespace lockstep {

std::vector<std::int64_t> Bucket::block_begins() const {
  std::vector<std::int64_t> out;
  for (const BucketSlot& slot : slots) {
    for (std::int64_t at = 0; at < slot.shape.elements(); at += kNormBlock) out.push_back(slot.offset + at);
  }
  out.push_back(elements);
  return out;
}

Range Bucket::blocks_of(int rank, int world_size) const {
  return piece_of(static_cast<std::int64_t>(block_begins().size()) - 1, world_size, rank);
}

Range Bucket::chunk(int rank, int world_size) const {
  const std::vector<std::int64_t> begins = block_begins();
  const Range blocks = blocks_of(rank, world_size);
  return {begins[blocks.begin], begins[blocks.end]};
}

std::vector<Segment> Bucket::decay_segments(int rank, int world_size) const {
  const Range mine = chunk(rank, world_size);
  std::vector<Segment> out;
  for (const BucketSlot& slot : slots) {
    if (!slot.decays) continue;
    const std::int64_t begin = std::max(slot.offset, mine.begin);
    const std::int64_t end = std::min(slot.offset + slot.shape.elements(), mine.end);
    if (begin < end) out.push_back({begin - mine.begin, end - mine.begin});
  }
  return out;
}

std::string Bucket::moment(const std::string& slot) const {
  return slot + state.substr(state.find('/'));
}

namespace {

void append(Bucket& bucket, const std::string& name, const Shape& shape, bool decays) {
  bucket.slots.push_back({name, shape, bucket.elements, decays});
  bucket.elements += shape.elements();
}

// The bucket of that state, made where there is none.
Bucket& bucket_of(std::vector<Bucket>& buckets, const std::string& state) {
  const auto found = std::ranges::find(buckets, state, &Bucket::state);
  if (found != buckets.end()) return *found;
  return buckets.emplace_back(Bucket{.state = state});
}

bool fills_lines(const Shape& shape) { return shape.elements() % (kMemoryAlignment / sizeof(float)) == 0; }

// Parameters of whole lines of memory come first, so that all of them begin on a line: kernels read them faster. The order
// does not depend on where one bucket ends and the next begins, for the norm is summed in it.
void add_trained(std::vector<Bucket>& out, const std::vector<ParameterSpec>& parameters, std::size_t bucket_bytes) {
  bool open = false;
  for (const bool whole_lines : {true, false}) {
    for (auto parameter = parameters.rbegin(); parameter != parameters.rend(); ++parameter) {
      if (!parameter->trainable || fills_lines(parameter->shape) != whole_lines) continue;
      if (!open) out.push_back({.state = text("parameters/", out.size())});
      append(out.back(), parameter->name, parameter->shape, parameter->decays);
      open = static_cast<std::size_t>(out.back().elements) * sizeof(float) < bucket_bytes;
    }
  }
}

// "statistics/0.99": with as many digits as tell one number from all others.
std::string statistics_of(double momentum) {
  char digits[32];
  return "statistics/" + std::string(digits, std::to_chars(digits, digits + sizeof digits, momentum).ptr);
}

void add_statistics(std::vector<Bucket>& out, const std::vector<StatisticSpec>& statistics) {
  for (const StatisticSpec& statistic : statistics) {
    if (!statistic.trainable) continue;
    Bucket& bucket = bucket_of(out, statistics_of(statistic.momentum));
    bucket.is_statistics = true;
    bucket.momentum = statistic.momentum;
    append(bucket, statistic.name, statistic.shape, false);
  }
}

void add_frozen(std::vector<Bucket>& out, const std::vector<ParameterSpec>& parameters,
                const std::vector<StatisticSpec>& statistics) {
  for (const bool whole_lines : {true, false}) {
    for (const ParameterSpec& parameter : parameters) {
      if (parameter.trainable || fills_lines(parameter.shape) != whole_lines) continue;
      Bucket& bucket = bucket_of(out, "parameters/frozen");
      bucket.is_frozen = true;
      append(bucket, parameter.name, parameter.shape, false);
    }
  }
  for (const StatisticSpec& statistic : statistics) {
    if (statistic.trainable) continue;
    Bucket& bucket = bucket_of(out, "statistics/frozen");
    bucket.is_frozen = bucket.is_statistics = true;
    append(bucket, statistic.name, statistic.shape, false);
  }
}

}  // namespace

std::vector<Bucket> make_buckets(const std::vector<ParameterSpec>& parameters,
                                 const std::vector<StatisticSpec>& statistics,
                                 std::size_t bucket_bytes) {
  std::vector<Bucket> out;
  add_trained(out, parameters, bucket_bytes);
  add_statistics(out, statistics);
  add_frozen(out, parameters, statistics);
  return out;
}

std::span<const Bucket> updated_buckets(const std::vector<Bucket>& buckets) {
  const auto frozen = std::ranges::find(buckets, true, &Bucket::is_frozen);
  return {buckets.begin(), frozen};
}

}  // namespace lockstep
