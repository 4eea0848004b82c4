#include "dist/buckets.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "ops/optimizers/gradient_ops.h"

namespace lockstep {
namespace {

std::vector<ParameterSpec> three_parameters() {
  return {{"a/weight", {100, 10}, {}, true}, {"a/bias", {10}, {}, false}, {"b/weight", {2000}, {}, true}};
}

TEST(Buckets, LastLayerFirstAndClosedBySize) {
  const auto one = make_buckets(three_parameters(), {}, 1 << 20);
  ASSERT_EQ(one.size(), 1u);
  EXPECT_EQ(one[0].state, "parameters/0");
  EXPECT_EQ(one[0].slots[0].name, "b/weight");
  EXPECT_EQ(one[0].slots[2].offset, 2010);
  EXPECT_EQ(one[0].elements, 3010);
  const auto small = make_buckets(three_parameters(), {}, 1);
  ASSERT_EQ(small.size(), 3u);
  EXPECT_EQ(small[2].slots[0].name, "a/weight");
  EXPECT_EQ(small[1].moment("m"), "m/1");
}

TEST(Buckets, StatisticsComeLastByMomentum) {
  const auto buckets = make_buckets(three_parameters(),
                                    {{"n/mean", {4}, 0, 0.9, 1}, {"k/mean", {4}, 0, 0.5, 2}, {"n/variance", {4}, 1, 0.9, 3}},
                                    1 << 20);
  ASSERT_EQ(buckets.size(), 3u);
  EXPECT_TRUE(buckets[1].is_statistics);
  EXPECT_EQ(buckets[1].elements, 8);
  EXPECT_EQ(buckets[1].state, "statistics/0.9");
  EXPECT_EQ(buckets[2].momentum, 0.5);
}

TEST(Buckets, MomentaThatAreNearlyEqualStayApart) {
  const auto buckets =
      make_buckets(three_parameters(), {{"a", {4}, 0, 0.9999991, 1}, {"b", {4}, 0, 0.9999994, 2}}, 1 << 20);
  ASSERT_EQ(buckets.size(), 3u);
  EXPECT_EQ(buckets[1].momentum, 0.9999991);
  EXPECT_EQ(buckets[2].momentum, 0.9999994);
}

TEST(Buckets, WhatIsFrozenLiesApartAndLast) {
  std::vector<ParameterSpec> parameters = three_parameters();
  parameters[0].trainable = parameters[1].trainable = false;
  const auto buckets = make_buckets(
      parameters, {{"n/mean", {4}, 0, 0.9, 1}, {"a/mean", {5}, 0, 0.9, 2, false}, {"a/variance", {5}, 0, 0.5, 2, false}}, 1);
  ASSERT_EQ(buckets.size(), 4u);
  EXPECT_EQ(buckets[0].slots.size(), 1u);
  EXPECT_EQ(buckets[0].slots[0].name, "b/weight");
  EXPECT_EQ(buckets[1].state, "statistics/0.9");
  EXPECT_EQ(buckets[1].elements, 4);
  EXPECT_EQ(buckets[2].state, "parameters/frozen");
  EXPECT_EQ(buckets[2].elements, 1010);
  EXPECT_TRUE(buckets[2].is_frozen);
  EXPECT_FALSE(buckets[2].is_statistics);
  EXPECT_TRUE(buckets[2].decay_segments(0, 1).empty());
  EXPECT_EQ(buckets[3].state, "statistics/frozen");
  EXPECT_EQ(buckets[3].elements, 10);
  EXPECT_TRUE(buckets[3].is_frozen && buckets[3].is_statistics);
  EXPECT_EQ(updated_buckets(buckets).size(), 2u);
  EXPECT_EQ(updated_buckets(make_buckets(three_parameters(), {}, 1)).size(), 3u);
}

// Kernels count on it (ops/dense/dense_cuda.cpp), and it does not depend on the size of buckets.
TEST(Buckets, ParametersOfWholeLinesBeginOnLines) {
  for (const bool trainable : {true, false}) {
    std::vector<ParameterSpec> parameters = {{"a", {3, 5}, {}, true},  {"b", {16}, {}, false},   {"c", {7}, {}, false},
                                             {"d", {4, 12}, {}, true}, {"e", {100, 16}, {}, true}};
    for (ParameterSpec& parameter : parameters) parameter.trainable = trainable;
    for (const std::size_t bytes : {1, 100, 3000, 1 << 20}) {
      std::size_t slots = 0;
      for (const Bucket& bucket : make_buckets(parameters, {}, bytes)) {
        for (const BucketSlot& slot : bucket.slots) {
          ++slots;
          EXPECT_TRUE(slot.shape.elements() % 16 != 0 || slot.offset % 16 == 0) << slot.name << " " << bytes;
        }
      }
      EXPECT_EQ(slots, parameters.size());
    }
  }
}

TEST(Buckets, ChunksCoverTheBucketInWholeBlocks) {
  const auto bucket = make_buckets(three_parameters(), {}, 1 << 20)[0];
  for (int world = 1; world <= 9; ++world) {
    std::int64_t next = 0;
    for (int rank = 0; rank < world; ++rank) {
      const Range chunk = bucket.chunk(rank, world);
      EXPECT_EQ(chunk.begin, next);
      EXPECT_EQ(std::ranges::count(bucket.block_begins(), chunk.begin), 1);
      next = chunk.end;
    }
    EXPECT_EQ(next, bucket.elements);
  }
}

TEST(Buckets, DecaySegmentsAreThoseOfTheChunk) {
  const auto bucket = make_buckets(three_parameters(), {}, 1 << 20)[0];
  EXPECT_EQ(bucket.decay_segments(0, 1), (std::vector<Segment>{{0, 2000}, {2010, 3010}}));
  // Blocks begin at 0, 1024, 2000 and 2010: three workers have one, one and two of them.
  EXPECT_EQ(bucket.decay_segments(1, 3), (std::vector<Segment>{{0, 976}}));
  EXPECT_EQ(bucket.decay_segments(2, 3), (std::vector<Segment>{{10, 1010}}));
}

// So the norm of the gradient is summed alike with any size of bucket.
TEST(Buckets, BlocksOfAllBucketsAreThoseOfTheParameters) {
  std::vector<std::int64_t> sizes[2];
  for (const int way : {0, 1}) {
    for (const Bucket& bucket : make_buckets(three_parameters(), {}, way == 0 ? 1 : 1 << 20)) {
      const auto begins = bucket.block_begins();
      for (std::size_t b = 0; b + 1 < begins.size(); ++b) sizes[way].push_back(begins[b + 1] - begins[b]);
    }
  }
  EXPECT_EQ(sizes[0], sizes[1]);
  EXPECT_EQ(sizes[0], (std::vector<std::int64_t>{1024, 976, 10, 1000}));
}

}  // namespace
}  // namespace lockstep
