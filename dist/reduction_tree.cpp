#include "dist/reduction_tree.h"

#include "core/base/error.h"

namespace lockstep {

std::vector<TreeNode> covering_subtrees(Range leaves) {
  std::vector<TreeNode> out;
  std::int64_t at = leaves.begin;
  while (at < leaves.end) {
    int level = 0;
    while ((at >> level) % 2 == 0 && at + (std::int64_t{2} << level) <= leaves.end) ++level;
    out.push_back({level, at >> level});
    at += std::int64_t{1} << level;
  }
  return out;
}

TreeNode tree_root(std::int64_t count) {
  int level = 0;
  while ((std::int64_t{1} << level) < count) ++level;
  return {level, 0};
}

namespace {

// Emits the sums below `node`; returns the position that then holds its value, -1 where it covers nothing.
int sum_below(const TreeNode& node, const std::vector<TreeNode>& parts, std::int64_t count,
              std::vector<TreeSum>& out) {
  for (std::size_t i = 0; i < parts.size(); ++i) {
    // A part that the end of the leaves cuts short stands for each of its ancestors with the same leaves.
    if (parts[i].leaves(count) == node.leaves(count)) return static_cast<int>(i);
  }
  if (node.leaves(count).size() == 0) return -1;
  require(node.level > 0, "reduction tree: no part covers microbatch ", node.index);
  const int left = sum_below({node.level - 1, 2 * node.index}, parts, count, out);
  const int right = sum_below({node.level - 1, 2 * node.index + 1}, parts, count, out);
  if (right < 0) return left;
  out.push_back({left, right});
  return left;
}

}  // namespace

std::vector<TreeSum> sums_to_root(const std::vector<TreeNode>& parts, std::int64_t count) {
  std::vector<TreeSum> out;
  const int root = sum_below(tree_root(count), parts, count, out);
  require(root == 0, "reduction tree: the parts are not in order");
  return out;
}

}  // namespace lockstep
