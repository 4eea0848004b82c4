// Random ways to divide a sum among workers, and the sum by its definition.
#pragma once

#include <algorithm>
#include <map>
#include <random>
#include <vector>

#include "dist/reduction_tree.h"

namespace lockstep::testing {

// One random way to divide a sum: microbatches, ranks on nodes, and chunks.
struct Split {
  std::int64_t microbatches = 1, elements = 1;
  int world = 1;
  std::vector<int> nodes;
  std::vector<Range> chunks;
};

inline Split random_split(std::uint32_t seed) {
  std::mt19937 random(seed);
  auto below = [&](int bound) { return static_cast<int>(random() % bound); };
  Split out;
  out.world = 2 + below(7);
  out.microbatches = 1 + below(40);
  out.elements = 1 + below(below(4) == 0 ? 20000 : 50);
  const int nodes = 1 + below(3);
  // Contiguous ranks for each node, or anyhow; numbered in order of their first rank.
  const bool contiguous = below(2) == 0;
  std::map<int, int> numbers;
  for (int r = 0; r < out.world; ++r) {
    const int node = contiguous ? r * nodes / out.world : below(nodes);
    out.nodes.push_back(numbers.emplace(node, static_cast<int>(numbers.size())).first->second);
  }
  std::vector<std::int64_t> cuts{0, out.elements};
  for (int r = 1; r < out.world; ++r) cuts.push_back(below(static_cast<int>(out.elements) + 1));
  std::ranges::sort(cuts);
  for (int r = 0; r < out.world; ++r) out.chunks.push_back({cuts[r], cuts[r + 1]});
  return out;
}

inline float value_of(std::int64_t microbatch, std::int64_t element) {
  std::uint64_t hash = (static_cast<std::uint64_t>(microbatch) * 1000003 + element + 1) * 0x9E3779B97F4A7C15ull;
  hash ^= hash >> 29;
  return static_cast<float>(static_cast<double>(hash % 2000001) / 1e6 - 1);
}

// The sum of a node of the tree, by its definition.
inline float tree_sum(const TreeNode& node, std::int64_t count, std::int64_t element) {
  if (node.level == 0) return value_of(node.index, element);
  const TreeNode left{node.level - 1, 2 * node.index}, right{node.level - 1, 2 * node.index + 1};
  const float sum = tree_sum(left, count, element);
  return right.leaves(count).size() == 0 ? sum : sum + tree_sum(right, count, element);
}

}  // namespace lockstep::testing
