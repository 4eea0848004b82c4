// Memory that the workers of one node have in common: what each of them only reads is there once.
#pragma once

#include <cstddef>
#include <memory>

#include "dist/communicator.h"

namespace lockstep {

struct NodeShare {
  std::shared_ptr<std::byte> memory;  // on a cache line; the communicator outlives it
  int part = 0, parts = 1;            // this rank's number among those who share it, and how many they are
};

// `bytes` of memory, the same for all ranks of this rank's node where they can see each other's memory; else each has its
// own. All ranks call it; those of a node with the same number. Throws a SharedError where there is not enough memory.
NodeShare share_on_node(Communicator& communicator, std::size_t bytes);

// How many workers are on this rank's node.
int workers_of_node(const Communicator& communicator);

}  // namespace lockstep
