// Where each buffer lies in the arena: buffers that live at the same time never overlap, and the
// arena is as small as a few good orders of placement make it.
//
// Method: greedy best fit by offset (Pisarchyk and Lee, "Efficient memory management for deep
// neural net inference", MLSys 2020), tried with several orders of the buffers, then with random
// changes of the best one, until the lower bound or a fixed amount of work is reached. The smallest
// peak wins, ties go to the earlier order, and the random numbers are fixed, so the result is a
// pure function of the input. Cost O(n^2) for n buffers and each order, and O(s log s) for s steps;
// 20,000 buffers take less than a second.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace lockstep {

// A buffer of `bytes` that lives from step `first` to step `last`, both inclusive.
struct LiveRange {
  std::size_t bytes = 0;
  int first = 0, last = 0;
};

struct MemoryLayout {
  std::vector<std::size_t> offsets;  // by buffer, multiples of kMemoryAlignment
  std::size_t peak = 0;              // bytes of the arena
};

MemoryLayout plan_memory(std::span<const LiveRange> ranges);

// The most bytes that live at one step: no plan can be smaller.
std::size_t largest_live_set(std::span<const LiveRange> ranges);

}  // namespace lockstep
