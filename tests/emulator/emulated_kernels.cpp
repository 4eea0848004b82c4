#include "tests/emulator/emulated_kernels.h"

#include "ops/conv2d/conv2d_cuda.h"
#include "ops/dense/dense_cuda.h"
#include "ops/register.h"

namespace lockstep {

// Of ops whose CUDA kernels call libraries (ops/register_cuda.cpp), the direct kernels.
void register_emulated_kernels(KernelRegistry& registry) {
  register_own_cuda_kernels(registry);
  register_conv2d_direct_cuda(registry);
  register_dense_direct_cuda(registry);
}

}  // namespace lockstep
