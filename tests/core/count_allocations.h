// Counts what a test program allocates. Linking count_allocations.cpp replaces operator new.
#pragma once

#include <cstdint>

namespace lockstep {

// Calls of operator new in this process, of all threads.
std::int64_t allocations_so_far();

}  // namespace lockstep
