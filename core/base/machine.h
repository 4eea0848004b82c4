// What the operating system says about this machine.
#pragma once

#include <cstddef>
#include <memory>

namespace lockstep {

// Bytes of memory that may be taken now without swapping (all of the memory where Linux does not
// say).
std::size_t available_memory();

// Memory on a cache line, not zeroed, freed with its last owner. Throws failed environment naming the bytes.
std::shared_ptr<std::byte> line_memory(std::size_t bytes);

}  // namespace lockstep
