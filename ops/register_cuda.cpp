// The CUDA kernels of all ops. Part of the GPU's module.
#include "core/builtin/builtin.h"
#include "ops/register.h"

namespace lockstep {

void register_cuda_kernels(KernelRegistry& registry) {
  register_builtin_cuda(registry);
}

}  // namespace lockstep

extern "C" __attribute__((visibility("default"))) void lockstep_register_cuda_kernels(lockstep::KernelRegistry* registry) {
  lockstep::register_cuda_kernels(*registry);
}
