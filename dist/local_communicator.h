// Ranks as threads of one process, all on one node: the reference that other communicators are tested against.
#pragma once

#include <memory>
#include <vector>

#include "dist/communicator.h"

namespace lockstep {

// One communicator for each rank of a world of `size`; they share what they need and may outlive one another.
// Each is used by a thread of its own. `deadline` in seconds. `nodes`: ranks that behave as if they were on different nodes;
// empty: all are on one.
std::vector<std::unique_ptr<Communicator>> make_local_world(int size, double deadline,
                                                            std::vector<int> nodes = {});

}  // namespace lockstep
