// Runs the threads of a kernel on the CPU, one block after another.
//
// Each thread runs until it meets a barrier or a collective of its warp, and goes on when all that belong to it have come.
// Blocks do not run in ascending order, and threads go on in ascending and descending order by turns, so that kernels which
// rely on one are found. What would hang or be undefined on a GPU throws broken_invariant out of run_grid:
//  - a barrier that not all live threads of the block reach, or that they reach at different places of the source;
//  - a collective of a warp that the live lanes of its mask do not reach together, or that names a lane as its source
//    that does not take part.
// Any number of host threads may run grids; they take turns.
#pragma once

#include <cstdint>
#include <functional>
#include <source_location>

#include "tests/emulator/include/vector_types.h"

namespace lockstep::emulator {

// `number` chooses the order of blocks and threads: launches count up.
void run_grid(dim3 grid, dim3 block, const std::function<void()>& thread, std::uint64_t number);

// The thread of a kernel that this host thread runs just now; null outside of kernels.
struct Place {
  uint3 block, thread;
};
const Place* running();

// The rest is called by threads of a kernel.

void barrier(const std::source_location& where);

enum class Collective : std::uint8_t { kSync, kShuffle, kBallot };
// What a lane brings along: `value` from lane `source`, for a shuffle; its predicate, for a ballot.
struct Contribution {
  Collective kind;
  unsigned mask;
  std::uint64_t value = 0;
  unsigned source = 0;
};
// The value of the source lane, or the lanes whose value is not 0.
std::uint64_t collective(const Contribution& contribution, const std::source_location& where);

unsigned lane();

}  // namespace lockstep::emulator
