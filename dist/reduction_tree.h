// The fixed binary tree in which values of microbatches are summed, so that the sum has the same bits however
// the microbatches are divided among workers.
//
// Leaves are the microbatches 0 .. M-1. Node (level, index) covers the leaves [index << level,
// (index + 1) << level) below M, and its value is the sum of its two children, left + right; a child that covers
// nothing is left out. The root covers all. A worker with a contiguous range of leaves sums the maximal aligned
// subtrees inside its range (at most 2 log2 M); whoever has the sums of all of them finishes the tree.
#pragma once

#include <cstdint>
#include <vector>

#include "datasets/microbatches.h"

namespace lockstep {

struct TreeNode {
  int level = 0;
  std::int64_t index = 0;
  bool operator==(const TreeNode&) const = default;

  Range leaves(std::int64_t count) const {
    const std::int64_t begin = index << level, end = (index + 1) << level;
    return {begin < count ? begin : count, end < count ? end : count};
  }
};

// The maximal aligned subtrees inside `leaves`, from left to right.
std::vector<TreeNode> covering_subtrees(Range leaves);

// The root of a tree over `count` leaves.
TreeNode tree_root(std::int64_t count);

// An order in which to sum the values of `parts` (disjoint nodes that together cover [0, count)) to the root: each
// entry adds the value at position `right` to the one at `left`; the result ends at position 0.
// Throws broken_invariant where the parts do not cover the leaves.
struct TreeSum {
  int left = 0, right = 0;
};
std::vector<TreeSum> sums_to_root(const std::vector<TreeNode>& parts, std::int64_t count);

// The sums that can be made of `parts` (disjoint nodes) without any other: siblings are added until no two are left.
// `sums` are positions in `parts`, in order; `kept` are the positions that then hold the nodes of `nodes`.
struct MergedParts {
  std::vector<TreeSum> sums;
  std::vector<int> kept;
  std::vector<TreeNode> nodes;
};
MergedParts merge_parts(const std::vector<TreeNode>& parts, std::int64_t count);

}  // namespace lockstep
