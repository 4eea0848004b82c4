// What the CUDA kernels of all rooms share: launching, element types, wide loads, and sums in a fixed order.
//
// The bits of a kernel may depend on the shapes only: never on the GPU's number of multiprocessors, on the order in which
// blocks run, or on atomics of floats. Kernels use static shared memory only, and no library: the tests run them on
// the CPU as well, thread by thread (tests/emulator), which knows the part of CUDA that is used here. Whoever
// needs a library (cuBLASLt, cuDNN) does so in a file without kernels.
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <type_traits>
#include <vector>

#include "core/base/bfloat16.h"
#include "core/base/error.h"
#include "core/device/cuda_check.h"
#include "core/kernel/kernel.h"

namespace lockstep {

// ---- Host --------------------------------------------------------------------------------------

inline constexpr int kWarp = 32;
inline constexpr int kThreads = 256;                   // of a block, where nothing else is better
inline constexpr std::int64_t kMostBlocks = 132 * 16;  // of a grid whose threads stride over the elements

// Queues the kernel on Launch::stream. An empty grid launches nothing.
template <typename... Parameters, typename... Arguments>
void launch(const Launch& on, dim3 blocks, int threads, void (*kernel)(Parameters...), Arguments&&... arguments) {
  if (blocks.x == 0 || blocks.y == 0 || blocks.z == 0) return;
  cudaLaunchConfig_t config = {};
  config.gridDim = blocks;
  config.blockDim = dim3(static_cast<unsigned>(threads));
  config.stream = static_cast<cudaStream_t>(on.stream);
  check_cuda(cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(arguments)...), "launch of a kernel");
}

// Blocks such that each has `items` of `count`.
inline dim3 blocks_for(std::int64_t count, std::int64_t items) {
  return dim3(static_cast<unsigned>((count + items - 1) / items));
}
// The same for kernels whose blocks stride over what is left.
inline dim3 striding_blocks(std::int64_t count, std::int64_t items) {
  return dim3(static_cast<unsigned>(std::min((count + items - 1) / items, kMostBlocks)));
}

// Queues a copy within the device's memory; none where it would be of nothing, or onto itself.
inline void queue_copy(const Launch& on, void* to, const void* from, std::size_t bytes) {
  if (bytes == 0 || to == from) return;
  check_cuda(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, static_cast<cudaStream_t>(on.stream)),
             "cudaMemcpyAsync");
}

// Numbers that a kernel reads and that are known when it is made, in memory of the device, which the kernel holds.
template <typename T>
std::shared_ptr<const Memory> device_table(Device& device, const std::vector<T>& numbers) {
  const std::size_t bytes = numbers.size() * sizeof(T);
  auto memory = std::make_shared<Memory>(
      device.allocate(std::max<std::size_t>(1, bytes), MemoryKind::kPrivate, "tables of kernels"));
  if (bytes > 0) device.copy_in(memory->data(), numbers.data(), bytes);
  return memory;
}

// Calls make(T{}) with T = float or BFloat16 by `dtype` and returns what it returns; bad_input naming the op for other
// types.
template <typename Make>
auto for_cuda_floating(const KernelRequest& request, DType dtype, const Make& make) {
  switch (dtype) {
    case DType::kF32:
      return make(float{});
    case DType::kBF16:
      return make(BFloat16{});
    default:
      bad_input(request.op.name(), ": no kernel for ", name_of(dtype), ", expected f32 or bf16");
  }
}

// ---- Device: elements --------------------------------------------------------------------------

__device__ inline float to_float(float value) { return value; }
__device__ inline float to_float(BFloat16 value) {
  return __uint_as_float(static_cast<unsigned>(value.bits) << 16);
}
// Rounds to nearest even; NaN stays NaN.
template <typename T>
__device__ inline T from_float(float value) {
  if constexpr (std::is_same_v<T, float>) {
    return value;
  } else {
    T out;
    out.bits = __bfloat16_as_ushort(__float2bfloat16_rn(value));
    return out;
  }
}

// Two neighbours as they lie in a word, for instructions that take both at once.
__device__ inline __nv_bfloat162 as_pair(std::uint32_t word) {
  __nv_bfloat162 pair;
  memcpy(&pair, &word, sizeof pair);
  return pair;
}

__device__ inline bool is_finite(float value) { return (__float_as_uint(value) & 0x7f800000u) != 0x7f800000u; }

// N elements that are loaded and stored at once. REQUIRES: addresses are multiples of sizeof(T) * N.
template <typename T, int N>
struct alignas(sizeof(T) * N) Pack {
  T element[N];
};
template <typename T>
inline constexpr int kPackOf = 16 / sizeof(T);  // elements of 16 bytes: the widest access

// ---- Device: sums and maxima in a fixed order -----------------------------------------------------

__device__ inline float warp_sum(float value) {
  for (int step = kWarp / 2; step > 0; step /= 2) value += __shfl_xor_sync(0xffffffffu, value, step);
  return value;  // the same bits in all lanes
}
// NaN wins.
__device__ inline float larger_of(float a, float b) { return a == a && !(b <= a) ? b : a; }
__device__ inline float warp_max(float value) {
  for (int step = kWarp / 2; step > 0; step /= 2) {
    value = larger_of(value, __shfl_xor_sync(0xffffffffu, value, step));
  }
  return value;
}

// Over all threads of a block of `kBlock` (a multiple of 32, at most 1024); every thread gets the result. All threads
// call it; it begins and ends with a barrier, so it may be called again at once.
template <int kBlock>
__device__ inline float block_sum(float value) {
  __shared__ float partial[kBlock / kWarp];
  value = warp_sum(value);
  __syncthreads();
  if (threadIdx.x % kWarp == 0) partial[threadIdx.x / kWarp] = value;
  __syncthreads();
  value = 0;
  for (int warp = 0; warp < kBlock / kWarp; ++warp) value += partial[warp];
  __syncthreads();
  return value;
}
template <int kBlock>
__device__ inline float block_max(float value) {
  __shared__ float partial[kBlock / kWarp];
  value = warp_max(value);
  __syncthreads();
  if (threadIdx.x % kWarp == 0) partial[threadIdx.x / kWarp] = value;
  __syncthreads();
  value = partial[0];
  for (int warp = 1; warp < kBlock / kWarp; ++warp) value = larger_of(value, partial[warp]);
  __syncthreads();
  return value;
}

}  // namespace lockstep
