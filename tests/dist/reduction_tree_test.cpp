#include "dist/reduction_tree.h"

#include <gtest/gtest.h>

#include <random>

#include "core/base/error.h"

namespace lockstep {
namespace {

// The sum of `leaves` in the tree, as text, so that its shape shows: ((0+1)+2).
std::string tree_of(std::int64_t begin, std::int64_t end, std::int64_t size) {
  if (begin >= end) return "";
  if (size == 1) return std::to_string(begin);
  const std::int64_t middle = begin + size / 2;
  const std::string left = tree_of(begin, std::min(middle, end), size / 2);
  const std::string right = tree_of(middle, end, size / 2);
  return right.empty() ? left : "(" + left + "+" + right + ")";
}

std::string expected_sum(std::int64_t count) {
  std::int64_t size = 1;
  while (size < count) size *= 2;
  return tree_of(0, count, size);
}

std::string value_of(const TreeNode& node, std::int64_t count) {
  const Range leaves = node.leaves(count);
  return tree_of(leaves.begin, leaves.end, std::int64_t{1} << node.level);
}

// Sums the parts of all ranks as the exchange does.
std::string sum_over_ranks(std::int64_t count, int world) {
  std::vector<TreeNode> parts;
  for (int rank = 0; rank < world; ++rank) {
    for (const TreeNode& node : covering_subtrees(piece_of(count, world, rank))) parts.push_back(node);
  }
  std::vector<std::string> values;
  for (const TreeNode& node : parts) values.push_back(value_of(node, count));
  for (const TreeSum& sum : sums_to_root(parts, count)) {
    values[sum.left] = "(" + values[sum.left] + "+" + values[sum.right] + ")";
  }
  return values[0];
}

TEST(ReductionTree, EveryWorldSumsInTheSameOrder) {
  for (std::int64_t count = 1; count <= 40; ++count) {
    for (int world = 1; world <= 12; ++world) {
      EXPECT_EQ(sum_over_ranks(count, world), expected_sum(count)) << count << " / " << world;
    }
  }
}

TEST(ReductionTree, KnownShapes) {
  EXPECT_EQ(expected_sum(5), "(((0+1)+(2+3))+4)");
  EXPECT_EQ(covering_subtrees({1, 7}), (std::vector<TreeNode>{{0, 1}, {1, 1}, {1, 2}, {0, 6}}));
  EXPECT_EQ(covering_subtrees({0, 8}), (std::vector<TreeNode>{{3, 0}}));
  EXPECT_TRUE(covering_subtrees({3, 3}).empty());
}

TEST(ReductionTree, MissingPartIsTold) {
  EXPECT_THROW(sums_to_root({{1, 0}}, 4), Error);
}

TEST(Microbatches, CoverTheBatchOnceForAnyWorld) {
  std::mt19937 random(5);
  for (int turn = 0; turn < 1000; ++turn) {
    const std::int64_t samples = 1 + random() % 300, count = 1 + random() % 40;
    const int world = 1 + static_cast<int>(random() % 20);
    const Microbatches cut(samples, count);
    std::int64_t next = 0;
    for (std::int64_t m = 0; m < cut.count; ++m) {
      EXPECT_EQ(cut.samples_of(m).begin, next);
      EXPECT_GE(cut.samples_of(m).size(), 1);
      next = cut.samples_of(m).end;
    }
    EXPECT_EQ(next, samples);
    std::int64_t next_sample = 0;
    for (int rank = 0; rank < world; ++rank) {
      const Range mine = cut.samples_of_rank(rank, world);
      if (mine.size() == 0) continue;
      EXPECT_EQ(mine.begin, next_sample);
      next_sample = mine.end;
    }
    EXPECT_EQ(next_sample, samples);
  }
}

}  // namespace
}  // namespace lockstep
