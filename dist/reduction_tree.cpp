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

MergedParts merge_parts(const std::vector<TreeNode>& parts, std::int64_t count) {
  MergedParts out;
  // The parts so far that end where the next one begins, from left to right.
  for (std::size_t i = 0; i < parts.size(); ++i) {
    TreeNode node = parts[i];
    int position = static_cast<int>(i);
    while (true) {
      // A left child whose right sibling covers nothing stands for its parent.
      while (node.index % 2 == 0 && node.leaves(count) == TreeNode{node.level + 1, node.index / 2}.leaves(count) &&
             node.level < tree_root(count).level) {
        node = {node.level + 1, node.index / 2};
      }
      const bool right = node.index % 2 == 1;
      if (!right || out.nodes.empty() || out.nodes.back() != TreeNode{node.level, node.index - 1}) break;
      out.sums.push_back({out.kept.back(), position});
      position = out.kept.back();
      node = {node.level + 1, node.index / 2};
      out.kept.pop_back();
      out.nodes.pop_back();
    }
    out.kept.push_back(position);
    out.nodes.push_back(node);
  }
  return out;
}

}  // namespace lockstep
