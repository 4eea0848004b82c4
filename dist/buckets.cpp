#include "dist/buckets.h"

#include <algorithm>

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

}  // namespace

std::vector<Bucket> make_buckets(const std::vector<ParameterSpec>& parameters,
                                 const std::vector<StatisticSpec>& statistics,
                                 std::size_t bucket_bytes) {
  std::vector<Bucket> out;
  bool open = false;
  for (auto parameter = parameters.rbegin(); parameter != parameters.rend(); ++parameter) {
    if (!open) {
      out.push_back({.state = text("parameters/", out.size())});
      open = true;
    }
    append(out.back(), parameter->name, parameter->shape, parameter->decays);
    open = static_cast<std::size_t>(out.back().elements) * sizeof(float) < bucket_bytes;
  }
  for (const StatisticSpec& statistic : statistics) {
    const std::string state = text("statistics/", statistic.momentum);
    auto bucket = std::ranges::find(out, state, &Bucket::state);
    if (bucket == out.end()) {
      out.push_back({.state = state, .is_statistics = true, .momentum = statistic.momentum});
      bucket = std::prev(out.end());
    }
    append(*bucket, statistic.name, statistic.shape, false);
  }
  return out;
}

}  // namespace lockstep
