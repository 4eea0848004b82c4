#include "dist/buckets.h"

#include <gtest/gtest.h>

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

TEST(Buckets, ChunksCoverTheBucketInWholeBlocks) {
  const auto bucket = make_buckets(three_parameters(), {}, 1 << 20)[0];
  for (int world = 1; world <= 9; ++world) {
    std::int64_t next = 0;
    for (int rank = 0; rank < world; ++rank) {
      const Range chunk = bucket.chunk(rank, world);
      EXPECT_EQ(chunk.begin, next);
      EXPECT_TRUE(chunk.begin % kNormBlock == 0 || chunk.begin == bucket.elements);
      next = chunk.end;
    }
    EXPECT_EQ(next, bucket.elements);
  }
}

TEST(Buckets, DecaySegmentsAreThoseOfTheChunk) {
  const auto bucket = make_buckets(three_parameters(), {}, 1 << 20)[0];
  EXPECT_EQ(bucket.decay_segments(0, 1), (std::vector<Segment>{{0, 2000}, {2010, 3010}}));
  // Chunks [0, 1024), [1024, 2048), [2048, 3010) of three workers.
  EXPECT_EQ(bucket.decay_segments(1, 3), (std::vector<Segment>{{0, 976}, {986, 1024}}));
}

}  // namespace
}  // namespace lockstep
