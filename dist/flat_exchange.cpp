#include "dist/flat_exchange.h"

#include <algorithm>

#include "core/base/error.h"

namespace lockstep {
namespace {

using Space = FlatPlace::Space;

constexpr std::int64_t kAlignment = 4;  // floats: parts that arrive begin where 16 bytes can be read at once

std::int64_t aligned(std::int64_t floats) { return (floats + kAlignment - 1) / kAlignment * kAlignment; }

int count_parts(const ExchangePlan& plan, int rank) { return static_cast<int>(plan.parts_of(rank).size()); }

// The sum of everybody's parts, of which `count` floats from `own_begin` on are summed here.
FlatSum sum_of_parts(const ExchangePlan& plan, std::int64_t own_begin, std::int64_t count) {
  FlatSum sum{.own_begin = own_begin, .stride = aligned(count), .count = count, .result = {Space::kOutput}};
  std::vector<TreeNode> all;
  for (int rank = 0; rank < plan.world_size(); ++rank) {
    const std::vector<TreeNode> parts = plan.parts_of(rank);
    int& number = rank < plan.rank ? sum.before : rank == plan.rank ? sum.own : sum.after;
    number += static_cast<int>(parts.size());
    all.insert(all.end(), parts.begin(), parts.end());
  }
  sum.sums = sums_to_root(all, plan.microbatches);
  return sum;
}

void add_message(std::vector<FlatMessage>& messages, const FlatMessage& message) {
  if (message.count > 0) messages.push_back(message);
}

// What arrives of the parts of other ranks, in order.
void receive_parts(const ExchangePlan& plan, FlatExchange& out) {
  const FlatSum& sum = out.sum;
  std::int64_t arrivals = 0;
  for (int rank = 0; rank < plan.world_size(); ++rank) {
    if (rank == plan.rank) continue;
    for (int part = count_parts(plan, rank); part > 0; --part) {
      add_message(out.receives, {rank, {Space::kWorkspace, 0, arrivals++ * sum.stride}, sum.count});
    }
  }
  out.workspace_floats = arrivals * sum.stride;
}

// Own chunk from `mine` to all, theirs to their places in `all`.
FlatExchange gather(const ExchangePlan& plan, FlatPlace mine, Space all) {
  FlatExchange out;
  for (int rank = 0; rank < plan.world_size(); ++rank) {
    if (rank == plan.rank) continue;
    add_message(out.sends, {rank, mine, plan.chunk().size()});
    add_message(out.receives, {rank, {all, 0, plan.chunks[rank].begin}, plan.chunks[rank].size()});
  }
  return out;
}

}  // namespace

float* FlatPlace::in(const Launch& launch) const {
  void* base = space == Space::kInput ? launch.inputs[index] : space == Space::kOutput ? launch.outputs[0] : launch.workspace;
  return static_cast<float*>(base) + begin;
}

FlatPlace FlatSum::part(int position) const {
  if (position >= before && position < before + own) return {Space::kInput, position - before, own_begin};
  const std::int64_t arrival = position < before ? position : position - own;
  return {Space::kWorkspace, 0, arrival * stride};
}

FlatExchange flat_tree_reduce(const ExchangePlan& plan) {
  FlatExchange out{.sum = sum_of_parts(plan, plan.chunk().begin, plan.chunk().size())};
  for (int owner = 0; owner < plan.world_size(); ++owner) {
    if (owner == plan.rank) continue;
    for (int part = 0; part < out.sum.own; ++part) {
      add_message(out.sends, {owner, {Space::kInput, part, plan.chunks[owner].begin}, plan.chunks[owner].size()});
    }
  }
  receive_parts(plan, out);
  return out;
}

FlatExchange flat_tree_all_reduce(const ExchangePlan& plan, std::int64_t elements) {
  FlatExchange out{.sum = sum_of_parts(plan, 0, elements)};
  for (int peer = 0; peer < plan.world_size(); ++peer) {
    if (peer == plan.rank) continue;
    for (int part = 0; part < out.sum.own; ++part) add_message(out.sends, {peer, {Space::kInput, part, 0}, elements});
  }
  receive_parts(plan, out);
  return out;
}

FlatExchange flat_all_gather(const ExchangePlan& plan) {
  FlatExchange out = gather(plan, {Space::kInput, 0, 0}, Space::kOutput);
  out.sum = {.own = 1, .count = plan.chunk().size(), .result = {Space::kOutput, 0, plan.chunk().begin}};
  return out;
}

FlatExchange flat_gather_state(const ExchangePlan& plan) {
  return gather(plan, {Space::kInput, 0, plan.chunk().begin}, Space::kInput);
}

// The sums come in the order in which a depth-first walk leaves the nodes of the tree (sums_to_root), so each of them can
// be done as soon as its right operand is on top of the stack.
StackProgram stack_program(const std::vector<TreeSum>& sums, int parts) {
  StackProgram out;
  std::vector<int> stack;  // positions
  std::size_t next = 0;
  for (int part = 0; part < parts; ++part) {
    stack.push_back(part);
    out.depth = std::max(out.depth, static_cast<int>(stack.size()));
    out.additions.push_back(0);
    while (next < sums.size() && sums[next].right == stack.back()) {
      stack.pop_back();
      require(!stack.empty() && stack.back() == sums[next].left, "reduction tree: sums that are not in order");
      ++out.additions.back();
      ++next;
    }
  }
  require(next == sums.size() && stack.size() <= 1, "reduction tree: the sums do not end in one value");
  return out;
}

}  // namespace lockstep
