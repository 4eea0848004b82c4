// The sum behind a loss on the GPU: each block of a kernel gives its part, and the parts are added up in order, in f64. A loss
// of few elements is the work of one block, and one launch; else a second launch adds up the parts.
#pragma once

#include "core/kernel/cuda_kernel.h"

namespace lockstep {

constexpr std::int64_t kMostLossBlocks = 132 * 8;  // that fill any GPU

// Where a kernel puts its sum.
struct LossSum {
  double scale = 1.0;
  double* parts = nullptr;  // one of each block; null where there is one block
  float* loss = nullptr;
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

// The end of a kernel: `value` is what this thread has added up.
__device__ inline void give_part(const LossSum& sum, double value) {
  value = sum_of_block(value);
  if (threadIdx.x != 0) return;
  if (sum.parts == nullptr) {
    *sum.loss = static_cast<float>(value * sum.scale);
  } else {
    sum.parts[blockIdx.x] = value;
  }
}

static __global__ void __launch_bounds__(kThreads) add_parts(unsigned count, LossSum sum) {
  double value = 0.0;
  for (unsigned i = threadIdx.x; i < count; i += kThreads) value += sum.parts[i];
  const double all = sum_of_block(value);
  if (threadIdx.x == 0) *sum.loss = static_cast<float>(all * sum.scale);
}

inline std::size_t loss_workspace_bytes(std::int64_t blocks) {
  return blocks > 1 ? static_cast<std::size_t>(blocks) * sizeof(double) : 0;
}

// Calls start(sum), which launches the kernel with `blocks` blocks, and adds up what they give.
template <typename Start>
void launch_loss(const Launch& on, std::int64_t blocks, double scale, const Start& start) {
  LossSum sum{scale, nullptr, on.output<float>(0)};
  if (blocks > 1) sum.parts = static_cast<double*>(on.workspace);
  start(sum);
  if (blocks > 1) launch(on, dim3(1), kThreads, add_parts, static_cast<unsigned>(blocks), sum);
}

}  // namespace lockstep
