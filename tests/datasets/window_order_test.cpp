// The order of data that is read in blocks: every sample once, the same whoever asks, and each lane in its own blocks.
#include "datasets/window_order.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <set>

#include "datasets/microbatches.h"
#include "datasets/sampler.h"

namespace lockstep {
namespace {

// Blocks of that many samples each.
std::vector<Range> blocks_of(const std::vector<std::int64_t>& sizes) {
  std::vector<Range> out;
  std::int64_t at = 0;
  for (const std::int64_t size : sizes) {
    out.push_back({at, at + size});
    at += size;
  }
  return out;
}

std::vector<std::int64_t> epoch_of(const WindowOrder& order, std::int64_t samples, std::int64_t batch_size, std::int64_t epoch) {
  std::vector<std::int64_t> out;
  for (std::int64_t batch = 0; batch < order.batches(); ++batch) {
    const std::int64_t size = batch_positions(samples, batch_size, batch).size();
    std::vector<std::int64_t> positions(static_cast<std::size_t>(size));
    order.positions(epoch, batch, {0, size}, positions);
    out.insert(out.end(), positions.begin(), positions.end());
  }
  return out;
}

TEST(WindowOrder, EverySampleComesOnceInAnEpoch) {
  for (const auto& sizes : {std::vector<std::int64_t>{7, 7, 7, 7, 5}, {1}, {100}, {3, 0, 0, 8, 1, 0, 2, 9}, {1, 1, 1}}) {
    const std::int64_t samples = std::accumulate(sizes.begin(), sizes.end(), std::int64_t{0});
    for (const std::int64_t batch : {1, 4, 5, 32, 200}) {
      for (const std::int64_t microbatches : {1, 2, 3, 8}) {
        for (const std::int64_t group : {1, 2, 100}) {
          for (const bool shuffled : {true, false}) {
            const WindowOrder order(blocks_of(sizes), {shuffled, 3, batch, microbatches, group});
            std::vector<std::int64_t> seen = epoch_of(order, samples, batch, 2);
            EXPECT_TRUE(shuffled || std::ranges::is_sorted(seen));
            std::ranges::sort(seen);
            std::vector<std::int64_t> all(static_cast<std::size_t>(samples));
            std::iota(all.begin(), all.end(), std::int64_t{0});
            EXPECT_EQ(seen, all) << batch << ' ' << microbatches << ' ' << group;
          }
        }
      }
    }
  }
}

TEST(WindowOrder, DependsOnSeedAndEpochOnly) {
  const auto blocks = blocks_of({50, 50, 50, 50, 31});
  const WindowOrder order(blocks, {true, 3, 20, 4, 2});
  EXPECT_EQ(epoch_of(order, 231, 20, 1), epoch_of(WindowOrder(blocks, {true, 3, 20, 4, 2}), 231, 20, 1));
  EXPECT_NE(epoch_of(order, 231, 20, 1), epoch_of(order, 231, 20, 2));
  EXPECT_NE(epoch_of(order, 231, 20, 1), epoch_of(WindowOrder(blocks, {true, 4, 20, 4, 2}), 231, 20, 1));
}

// A lane is one microbatch of every batch, its groups follow one another, and a block is in one lane but at their borders.
TEST(WindowOrder, LanesShareNoBlocksButAtTheirBorders) {
  const std::int64_t samples = 1000, batch = 40, microbatches = 4;
  const WindowOrder order(blocks_of(std::vector<std::int64_t>(100, 10)), {true, 9, batch, microbatches, 3});
  ASSERT_EQ(order.lanes(), 4);
  std::map<std::int64_t, std::set<std::int64_t>> lanes_of_block;
  const auto groups = order.groups(5);
  for (std::int64_t lane = 0; lane < 4; ++lane) {
    std::int64_t at = 0;
    for (const WindowOrder::Group& group : groups[static_cast<std::size_t>(lane)]) {
      EXPECT_EQ(group.places.begin, at);
      at = group.places.end;
      std::int64_t pieces = 0;
      for (const WindowOrder::Piece& piece : group.pieces) {
        lanes_of_block[piece.block].insert(lane);
        pieces += piece.positions.size();
      }
      EXPECT_EQ(pieces, group.places.size());
    }
    EXPECT_EQ(at, order.lane_size(lane));
  }
  std::size_t shared = 0;
  for (const auto& [block, lanes] : lanes_of_block) shared += lanes.size() - 1;
  EXPECT_LE(shared, 3u);
  for (std::int64_t b = 0; b < order.batches(); ++b) {
    const std::int64_t size = batch_positions(samples, batch, b).size();
    const Microbatches cut(size, microbatches);
    for (std::int64_t i = 0; i < size; ++i) {
      const WindowOrder::Place place = order.place(b, i);
      const Range own = cut.samples_of(place.lane);
      EXPECT_TRUE(i >= own.begin && i < own.end);
      EXPECT_EQ(place.at, order.places_of(place.lane, b).begin + i - own.begin);
    }
  }
}

// The first batch of many epochs draws from all over the data.
TEST(WindowOrder, BlocksAndSamplesAreShuffled) {
  const WindowOrder order(blocks_of(std::vector<std::int64_t>(20, 16)), {true, 1, 32, 2, 4});
  std::vector<int> seen(320, 0);
  for (std::int64_t epoch = 0; epoch < 200; ++epoch) {
    std::vector<std::int64_t> positions(32);
    order.positions(epoch, 0, {0, 32}, positions);
    for (const std::int64_t p : positions) ++seen[static_cast<std::size_t>(p)];
    // 16 samples of a lane, out of four blocks of 16.
    std::set<std::int64_t> blocks;
    for (int i = 0; i < 16; ++i) blocks.insert(positions[static_cast<std::size_t>(i)] / 16);
    EXPECT_GE(blocks.size(), 2u);
    EXPECT_LE(blocks.size(), 4u);
  }
  // Each is expected 20 times with a deviation of 4.2.
  EXPECT_GT(*std::ranges::min_element(seen), 2);
  EXPECT_LT(*std::ranges::max_element(seen), 42);
}

}  // namespace
}  // namespace lockstep
