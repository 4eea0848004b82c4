#include "tests/emulator/emulated_kernels.h"

#include "ops/register.h"

namespace lockstep {

void register_emulated_kernels(KernelRegistry& registry) {
  register_own_cuda_kernels(registry);
}

}  // namespace lockstep
