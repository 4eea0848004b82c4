// The one check of calls into CUDA. Part of the GPU's module.
#pragma once

#include <cuda_runtime.h>

#include "core/base/error.h"

namespace lockstep {

// Throws failed environment quoting `call` where it did not succeed.
inline void check_cuda(cudaError_t code, const char* call) {
  if (code == cudaSuccess) return;
  environment_failed(call, ": ", cudaGetErrorString(code), " (", cudaGetErrorName(code), ")");
}

}  // namespace lockstep
