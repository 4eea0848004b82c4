#include "datasets/window_order.h"

#include <algorithm>
#include <numeric>

#include "core/base/error.h"
#include "datasets/microbatches.h"
#include "datasets/sampler.h"
#include "datasets/shuffle.h"

namespace lockstep {
namespace {

// Streams of Purpose::kShuffle; the full shuffle is stream 0.
constexpr std::uint32_t kBlocksStream = 1, kSamplesStream = 2;

}  // namespace

WindowOrder::WindowOrder(std::vector<Range> blocks, const WindowOrderOptions& options)
    : blocks_(std::move(blocks)), options_(options) {
  require(options_.global_batch >= 1 && options_.microbatches >= 1 && options_.group_blocks >= 1,
          "an order of batches of ", options_.global_batch, " in ", options_.microbatches, " microbatches, groups of ",
          options_.group_blocks, " blocks");
  for (const Range& block : blocks_) {
    require(block.begin == samples_ && block.end >= block.begin, "blocks do not follow one another");
    samples_ = block.end;
  }
  const std::int64_t lanes = options_.shuffled ? std::min(options_.microbatches, options_.global_batch) : 1;
  const std::int64_t full = samples_ / options_.global_batch;
  std::int64_t begin = 0;
  for (std::int64_t lane = 0; lane < lanes; ++lane) {
    std::int64_t size = samples_;
    if (options_.shuffled) {
      size = full * piece_of(options_.global_batch, lanes, lane).size();
      const Microbatches rest(samples_ % options_.global_batch, options_.microbatches);
      if (lane < rest.count) size += rest.samples_of(lane).size();
    }
    lane_begins_.push_back(begin);
    lane_sizes_.push_back(size);
    begin += size;
  }
}

WindowOrder::Place WindowOrder::place(std::int64_t batch, std::int64_t position) const {
  if (!options_.shuffled) return {0, batch * options_.global_batch + position};
  const Microbatches cut(batch_positions(samples_, options_.global_batch, batch).size(), options_.microbatches);
  std::int64_t lane = position * cut.count / cut.samples;
  while (cut.samples_of(lane).end <= position) ++lane;
  return {lane, places_of(lane, batch).begin + position - cut.samples_of(lane).begin};
}

Range WindowOrder::places_of(std::int64_t lane, std::int64_t batch) const {
  const Range positions = batch_positions(samples_, options_.global_batch, batch);
  if (!options_.shuffled) return positions;
  // All batches before are full ones.
  const std::int64_t begin = batch * piece_of(options_.global_batch, lanes(), lane).size();
  const Microbatches cut(positions.size(), options_.microbatches);
  return {begin, begin + (lane < cut.count ? cut.samples_of(lane).size() : 0)};
}

std::vector<std::vector<WindowOrder::Group>> WindowOrder::groups(std::int64_t epoch) const {
  std::vector<std::int64_t> sequence(blocks_.size());
  std::iota(sequence.begin(), sequence.end(), std::int64_t{0});
  const RandomStream random(options_.seed, Purpose::kShuffle, kBlocksStream);
  if (options_.shuffled) shuffle(random, static_cast<std::uint32_t>(epoch), 0, sequence);

  std::vector<std::vector<Group>> out(lane_sizes_.size());
  std::size_t next = 0;       // in the sequence
  std::int64_t used = 0;      // samples of that block that went to the lane before
  for (std::size_t lane = 0; lane < out.size(); ++lane) {
    // A batch takes samples of at most two groups.
    const std::int64_t least = piece_of(options_.global_batch, lanes(), static_cast<std::int64_t>(lane)).size();
    for (std::int64_t at = 0; at < lane_sizes_[lane];) {
      const bool fresh = out[lane].empty() ||
                         (static_cast<std::int64_t>(out[lane].back().pieces.size()) >= options_.group_blocks &&
                          out[lane].back().places.size() >= least);
      if (fresh) out[lane].push_back({{at, at}, {}});
      Group& group = out[lane].back();
      const std::int64_t block = sequence[next];
      const Range positions = blocks_[static_cast<std::size_t>(block)];
      const std::int64_t count = std::min(positions.size() - used, lane_sizes_[lane] - at);
      const std::int64_t first = positions.begin + used;
      used += count;
      if (positions.begin + used == positions.end) {
        ++next;
        used = 0;
      }
      if (count == 0) continue;  // none of its samples are in the subset
      group.pieces.push_back({block, {first, first + count}});
      at += count;
      group.places.end = at;
    }
  }
  return out;
}

void WindowOrder::fill(std::int64_t epoch, std::int64_t lane, const Group& group, std::span<std::int64_t> out) const {
  std::size_t at = 0;
  for (const Piece& piece : group.pieces) {
    for (std::int64_t position = piece.positions.begin; position < piece.positions.end; ++position) {
      out[at++] = position;
    }
  }
  if (!options_.shuffled) return;
  const auto first = static_cast<std::uint64_t>(lane_begins_[static_cast<std::size_t>(lane)] + group.places.begin);
  const RandomStream random(options_.seed, Purpose::kShuffle, kSamplesStream);
  shuffle(random, static_cast<std::uint32_t>(epoch), first, out);
}

std::int64_t WindowOrder::batches() const { return batches_per_epoch(samples_, options_.global_batch); }

void WindowOrder::positions(std::int64_t epoch, std::int64_t batch, Range range, std::span<std::int64_t> out) const {
  const auto all = groups(epoch);
  const Group* group = nullptr;  // of which `order` is
  std::vector<std::int64_t> order;
  for (std::int64_t i = range.begin; i < range.end; ++i) {
    const Place where = place(batch, i);
    const std::vector<Group>& lane = all[static_cast<std::size_t>(where.lane)];
    const auto found = std::ranges::upper_bound(lane, where.at, {}, [](const Group& one) { return one.places.begin; });
    const Group& its = *(found - 1);
    if (&its != group) {
      group = &its;
      order.resize(static_cast<std::size_t>(its.places.size()));
      fill(epoch, where.lane, its, order);
    }
    out[static_cast<std::size_t>(i - range.begin)] = order[static_cast<std::size_t>(where.at - its.places.begin)];
  }
}

}  // namespace lockstep
