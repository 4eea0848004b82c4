// What the CPU kernels of the ops share: the number of threads, and the choice between f32 and
// bf16.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>

#include "core/base/bfloat16.h"
#include "core/base/error.h"
#include "core/device/cpu_device.h"
#include "core/kernel/kernel.h"

namespace lockstep {

// Elements of cheap work (a pass over memory) that are worth a thread of their own.
inline constexpr std::int64_t kElementGrain = 1 << 15;

// The number of threads of the device a CPU kernel is made for.
inline int cpu_threads(const KernelRequest& request) {
  return static_cast<const CpuDevice&>(request.device).threads();
}

// Calls make(T{}) with T = float or BFloat16 by `dtype` and returns what it returns; bad_input
// naming the op for other types.
template <typename Make>
auto for_floating(const KernelRequest& request, DType dtype, const Make& make) {
  switch (dtype) {
    case DType::kF32:
      return make(float{});
    case DType::kBF16:
      return make(BFloat16{});
    default:
      bad_input(request.op.name(), ": no kernel for ", name_of(dtype), ", expected f32 or bf16");
  }
}

// Writes the first n elements of `tile` down again and again until it holds `times` copies of them.
template <typename T>
void repeat_front(T* tile, std::int64_t n, std::int64_t times) {
  for (std::int64_t done = 1; done < times; done *= 2) {
    std::copy_n(tile, std::min(done, times - done) * n, tile + done * n);
  }
}

}  // namespace lockstep
