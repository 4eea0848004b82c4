// Counts what a test program allocates. Linking count_allocations.cpp replaces operator new.
#pragma once

#include <cstdint>

namespace lockstep {

// Calls of operator new in this process, of all threads.
std::int64_t allocations_so_far();
// Those that come from the program's own code, libraries of the system left out: oneDNN allocates whenever one of its
// primitives is executed, and nobody can help that.
std::int64_t own_allocations_so_far();

}  // namespace lockstep
