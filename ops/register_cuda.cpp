// The CUDA kernels of all ops. Part of the GPU's module.
#include "ops/conv2d/conv2d.h"
#include "ops/dense/dense.h"
#include "ops/register.h"

namespace lockstep {

// Kernels that are all ours are listed in register_own_cuda.cpp; here are those of rooms that call CUDA's libraries.
void register_cuda_kernels(KernelRegistry& registry) {
  register_own_cuda_kernels(registry);
  register_conv2d_cuda(registry);
  register_dense_cuda(registry);
}

}  // namespace lockstep

extern "C" __attribute__((visibility("default"))) void lockstep_register_cuda_kernels(lockstep::KernelRegistry* registry) {
  lockstep::register_cuda_kernels(*registry);
}
