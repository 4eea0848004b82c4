// The exchange of a step in one level: every rank talks to every other straight, as GPUs do, which have links to each other
// or a network of their own. Here is what is sent, where it arrives, and in which order it is summed; who moves the bytes
// and who adds them is somebody else's.
//
// Steps: 1. Bytes of a tree_reduce over n elements, in and out of a rank, where W is a power of two: (W - 1) / W of n.
#pragma once

#include <cstdint>
#include <vector>

#include "dist/exchange_ops.h"

namespace lockstep {

// A place in the memory of a kernel's run, in floats.
struct FlatPlace {
  enum class Space : std::uint8_t { kInput, kOutput, kWorkspace };
  Space space = Space::kWorkspace;
  int index = 0;  // of the input
  std::int64_t begin = 0;

  float* in(const Launch& launch) const;
  bool operator==(const FlatPlace&) const = default;
};

// Messages between two ranks are sent and received in the same order; none is empty.
struct FlatMessage {
  int peer = 0;
  FlatPlace place;
  std::int64_t count = 0;  // floats
};

// The sum that finishes the fixed tree: `parts` values of `count` floats each, in order of the tree's leaves, of which this
// rank has those in the middle.
struct FlatSum {
  int before = 0, own = 0, after = 0;
  std::int64_t own_begin = 0;  // own part i lies in input i from here on
  std::int64_t stride = 0;     // between the parts that arrive, in the workspace
  std::int64_t count = 0;
  std::vector<TreeSum> sums = {};
  FlatPlace result = {};

  int parts() const { return before + own + after; }
  FlatPlace part(int position) const;
};

struct FlatExchange {
  std::vector<FlatMessage> sends = {}, receives = {};
  FlatSum sum = {};  // after the messages; of no parts where nothing is summed
  std::int64_t workspace_floats = 0;
};

// Each rank sends each of its partial sums of a chunk to the chunk's owner.
FlatExchange flat_tree_reduce(const ExchangePlan& plan);
// Each rank sends all of each partial sum to all.
FlatExchange flat_tree_all_reduce(const ExchangePlan& plan, std::int64_t elements);
// Each rank sends its chunk to all; its own one is brought to its place as a sum of one part.
FlatExchange flat_all_gather(const ExchangePlan& plan);
// The same within input 0.
FlatExchange flat_gather_state(const ExchangePlan& plan);

// Sums in the order of sums_to_root() as a program for a stack, which needs no positions: part after part is pushed, and
// after part i the two topmost values are replaced by their sum `additions[i]` times.
struct StackProgram {
  std::vector<std::uint8_t> additions;
  int depth = 0;  // values on the stack at most
};
StackProgram stack_program(const std::vector<TreeSum>& sums, int parts);

}  // namespace lockstep
