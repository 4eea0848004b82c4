// The CUDA kernels of the rooms that need no library. Part of the GPU's module, and of the emulated device of the tests.
#include "core/builtin/builtin.h"
#include "ops/activation/activation.h"
#include "ops/bias/bias.h"
#include "ops/binary/binary.h"
#include "ops/register.h"

namespace lockstep {

void register_own_cuda_kernels(KernelRegistry& registry) {
  register_builtin_cuda(registry);
  register_activation_cuda(registry);
  register_bias_cuda(registry);
  register_binary_cuda(registry);
}

}  // namespace lockstep
