// What the operating system says about this machine.
#pragma once

#include <cstddef>

namespace lockstep {

// Bytes of memory that may be taken now without swapping (all of the memory where Linux does not
// say).
std::size_t available_memory();

}  // namespace lockstep
