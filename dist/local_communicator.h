// Ranks as threads of one process, with messages copied through memory: the reference that other communicators
// are tested against.
#pragma once

#include <memory>
#include <vector>

#include "dist/communicator.h"

namespace lockstep {

// One communicator for each rank of a world of `size`; they share what they need and may outlive one another.
// Each is used by a thread of its own. `deadline` in seconds.
std::vector<std::unique_ptr<Communicator>> make_local_world(int size, double deadline);

}  // namespace lockstep
