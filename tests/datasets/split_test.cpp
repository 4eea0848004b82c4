// Splits and orders: permutations, pinned so that no later change moves a sample.
#include "datasets/split.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "datasets/sampler.h"
#include "tests/datasets/shards.h"

namespace lockstep {
namespace {

using Ids = std::vector<std::int64_t>;

Ids order_of(SampleOrder order, std::uint64_t seed, std::int64_t epoch, std::size_t count) {
  Ids out(count);
  fill_epoch_order(order, seed, epoch, out);
  return out;
}

void expect_each_once(Ids ids, std::int64_t count) {
  std::ranges::sort(ids);
  Ids expected(static_cast<std::size_t>(count));
  std::iota(expected.begin(), expected.end(), std::int64_t{0});
  EXPECT_EQ(ids, expected);
}

TEST(Split, EverySampleIsInOnePart) {
  for (const std::int64_t count : {2, 3, 10, 1797}) {
    const Split parts = split(7, count, 0.2);
    EXPECT_EQ(static_cast<std::int64_t>(parts.test.size()),
              std::max<std::int64_t>(1, std::llround(0.2 * static_cast<double>(count))));
    EXPECT_TRUE(std::ranges::is_sorted(parts.test));
    EXPECT_TRUE(std::ranges::is_sorted(parts.train));
    Ids all = parts.train;
    all.insert(all.end(), parts.test.begin(), parts.test.end());
    expect_each_once(all, count);
  }
}

TEST(Split, IsPinned) {
  EXPECT_EQ(split(1, 12, 0.25).test, (Ids{0, 6, 8}));
  EXPECT_EQ(split(2, 12, 0.25).test, (Ids{1, 10, 11}));
  EXPECT_EQ(split(std::uint64_t{1} << 40, 12, 0.25).test, (Ids{1, 5, 6}));
}

TEST(Split, KeepsTheSharesOfTheLabels) {
  std::vector<std::int32_t> labels;
  for (int i = 0; i < 60; ++i) labels.push_back(i % 10 == 0 ? 7 : i % 3);
  const Split parts = split_stratified(3, labels, 0.25);
  std::map<std::int32_t, int> in_test, in_all;
  for (const std::int32_t label : labels) ++in_all[label];
  for (const std::int64_t id : parts.test) ++in_test[labels[static_cast<std::size_t>(id)]];
  EXPECT_EQ(parts.test.size(), 15u);
  for (const auto& [label, all] : in_all) EXPECT_NEAR(in_test[label], all * 0.25, 1.0) << label;
  Ids both = parts.train;
  both.insert(both.end(), parts.test.begin(), parts.test.end());
  expect_each_once(both, 60);
  EXPECT_EQ(split_stratified(1, std::vector<std::int32_t>{0, 0, 0, 1, 1, 1, 0, 1}, 0.5).test,
            (Ids{2, 4, 5, 6}));
}

TEST(Split, RefusesWhatCannotBeCut) {
  EXPECT_EQ(message_of([] { split(1, 1, 0.5); }), "split: 1 samples, expected at least 2");
  EXPECT_EQ(message_of([] { split(1, 9, 1.0); }),
            "split: the test part is 1, expected more than 0 and less than 1");
}

TEST(Sampler, OrdersArePinned) {
  EXPECT_EQ(order_of(SampleOrder::kShuffled, 1, 0, 10), (Ids{9, 4, 5, 6, 1, 0, 8, 3, 7, 2}));
  EXPECT_EQ(order_of(SampleOrder::kShuffled, 1, 1, 10), (Ids{2, 6, 3, 9, 5, 7, 4, 8, 0, 1}));
  EXPECT_EQ(order_of(SampleOrder::kShuffled, 2, 0, 10), (Ids{7, 3, 1, 4, 9, 8, 0, 2, 5, 6}));
  EXPECT_EQ(order_of(SampleOrder::kSequential, 1, 5, 4), (Ids{0, 1, 2, 3}));
}

TEST(Sampler, EverySampleIsInOneBatchOfAnEpoch) {
  for (const std::int64_t count : {1, 7, 64, 101}) {
    for (const std::int64_t batch : {1, 3, 8, 200}) {
      const Ids order = order_of(SampleOrder::kShuffled, 9, 4, static_cast<std::size_t>(count));
      Ids seen;
      for (std::int64_t k = 0; k < batches_per_epoch(count, batch); ++k) {
        const Range range = batch_positions(count, batch, k);
        EXPECT_EQ(range.size(), std::min(batch, count - k * batch));
        seen.insert(seen.end(), order.begin() + range.begin, order.begin() + range.end);
      }
      expect_each_once(seen, count);
    }
  }
}

// Each of the 24 orders of four samples is as likely: chi-square with 23 degrees of freedom is
// below 49.7 in 99.9 of 100 cases.
TEST(Sampler, OrdersAreUniform) {
  std::map<Ids, int> counts;
  constexpr int kEpochs = 24000;
  for (int epoch = 0; epoch < kEpochs; ++epoch) {
    ++counts[order_of(SampleOrder::kShuffled, 5, epoch, 4)];
  }
  ASSERT_EQ(counts.size(), 24u);
  double chi_square = 0;
  for (const auto& [order, count] : counts) {
    chi_square += (count - 1000.0) * (count - 1000.0) / 1000.0;
  }
  EXPECT_LT(chi_square, 49.7);
}

}  // namespace
}  // namespace lockstep
