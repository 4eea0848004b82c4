// The CUDA kernels of all rooms, compiled for the CPU: they run on EmulatedDevice.
#pragma once

#include "core/kernel/kernel.h"

namespace lockstep {

// Rooms whose kernels call CUDA's libraries register their own kernels for the same ops instead.
void register_emulated_kernels(KernelRegistry& registry);

}  // namespace lockstep
