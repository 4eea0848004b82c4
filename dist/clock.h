// How far apart the clocks of the workers are. Workers of one machine have one clock; between machines it is measured, as
// F. Cristian, "Probabilistic clock synchronization", 1989: of several questions the answer that came fastest counts, for its
// time is known best.
#pragma once

#include <cstdint>
#include <vector>

#include "dist/communicator.h"

namespace lockstep {

// By rank: nanoseconds to add to its monotonic clock for that of rank 0. All ranks call it; equal on all.
std::vector<std::int64_t> clock_shifts(Communicator& communicator);

}  // namespace lockstep
