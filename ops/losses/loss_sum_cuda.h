// The sum behind a loss on the GPU: each block of a kernel gives its part, and the block that is the last to do so adds them up
// in f64, in the order of the blocks. So the bits do not depend on which one that is, and a loss is one launch.
#pragma once

#include <memory>

#include "core/device/device.h"
#include "core/kernel/cuda_kernel.h"

namespace lockstep {

constexpr std::int64_t kMostLossBlocks = 132 * 8;  // that fill any GPU

// Where a kernel puts its sum.
struct LossSum {
  double scale = 1.0;
  double* parts = nullptr;      // one of each block
  float* loss = nullptr;
  unsigned* arrived = nullptr;  // how many blocks have given their part; 0 between launches
};

// Over all threads of the block, in a fixed order; thread 0 gets it. All threads call it, once.
__device__ inline double sum_of_block(double value) {
  __shared__ double of_warp[kWarp];
  for (int step = kWarp / 2; step > 0; step /= 2) value += __shfl_xor_sync(0xffffffffu, value, step);
  if (threadIdx.x % kWarp == 0) of_warp[threadIdx.x / kWarp] = value;
  __syncthreads();
  double sum = 0.0;
  for (unsigned warp = 0; warp < blockDim.x / kWarp; ++warp) sum += of_warp[warp];
  return sum;
}

// The end of a kernel: `value` is what this thread has added up. The last block to arrive adds up the parts of all, in their
// order, and leaves the counter as it was.
__device__ inline void give_part(const LossSum& sum, double value) {
  value = sum_of_block(value);
  if (gridDim.x > 1) {
    __shared__ bool is_last;
    if (threadIdx.x == 0) {
      sum.parts[blockIdx.x] = value;
      __threadfence();
      is_last = atomicInc(sum.arrived, gridDim.x - 1) == gridDim.x - 1;
    }
    __syncthreads();
    if (!is_last) return;
    __threadfence();
    double mine = 0.0;
    for (unsigned i = threadIdx.x; i < gridDim.x; i += blockDim.x) mine += __ldcg(sum.parts + i);
    value = sum_of_block(mine);
  }
  if (threadIdx.x == 0) *sum.loss = static_cast<float>(value * sum.scale);
}

// What a kernel that ends so needs besides its launches.
struct LossMemory {
  std::int64_t blocks;
  std::shared_ptr<Memory> arrived;

  LossMemory(Device& device, std::int64_t blocks)
      : blocks(blocks), arrived(std::make_shared<Memory>(device.allocate(sizeof(unsigned), MemoryKind::kPrivate, "losses"))) {}
  std::size_t workspace_bytes() const { return static_cast<std::size_t>(blocks) * sizeof(double); }
  dim3 grid() const { return dim3(static_cast<unsigned>(blocks)); }
  // Of a launch whose output `output` is the loss.
  LossSum sum(const Launch& on, double scale, int output = 0) const {
    return {scale, static_cast<double*>(on.workspace), on.output<float>(output), static_cast<unsigned*>(arrived->data())};
  }
};

}  // namespace lockstep
