// The shared memory of the workers of one node: a heap for each, open to the others, and mailboxes between them.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "dist/neighbours.h"

namespace lockstep {

struct NodeMemory {
  std::vector<int> nodes;                  // of each rank, numbered in order of its lowest rank
  std::unique_ptr<SharedHeap> heap;        // null for a rank without neighbours
  std::unique_ptr<Neighbours> neighbours;  // null for a rank without neighbours
};

// `machines`: a number for each rank, equal where ranks run on one machine. `gather` gives the numbers of all ranks, by
// rank. Where one rank of a machine cannot see the memory of another, each of its ranks is a node of its own: they
// talk by messages then. All ranks call this together.
NodeMemory make_node_memory(int rank, const std::vector<std::int64_t>& machines,
                            const std::function<std::vector<std::int64_t>(std::int64_t)>& gather);

}  // namespace lockstep
