// Rows of a row-major matrix on the GPU, each by a group of threads: for softmax, normalisation over the last axis, losses.
//
//   const RowGroups groups(rows, length, kPackOf<T>, 8);      // when the kernel is made
//   launch(on, groups.blocks(), groups.block, kernel<...>, groups.grid(), ...);
//
// A group is a part of a warp or several warps; a block has one group or more. The elements of a row are dealt in packs:
// thread t has the packs t, t + threads, ... Pack and threads depend on the extents alone, not on alignment, so the bits do
// too.
#pragma once

#include <cstdint>

#include "core/kernel/cuda_elementwise.h"

namespace lockstep {

// What a kernel is given of that.
struct RowGrid {
  std::int64_t rows = 0, length = 0, packs = 0;  // packs of a row
  int shift = 0;                                 // 2^shift threads are a group
};

struct RowGroups {
  std::int64_t rows, length;
  int pack;                // elements: `widest` where the length is a multiple of it, else 1
  std::int64_t packs;      // of a row
  std::int64_t of_thread;  // packs of a thread, at most
  int shift = 0;
  int block = kThreads;    // threads of a block; may be made larger, to a multiple of the group

  // `held`: packs that a thread has room for in its registers. Rows that are longer than `most_threads` can hold are still
  // cut into groups, but of_thread > held then.
  RowGroups(std::int64_t rows, std::int64_t length, int widest, int held, int most_threads = 512)
      : rows(rows), length(length), pack(length % widest == 0 ? widest : 1), packs(length / pack) {
    constexpr std::int64_t kEnoughThreads = 132 * 1024;  // that keep the memory of any GPU busy
    while (threads() < most_threads && threads() < packs &&
           (threads() < kWarp || threads() * held < packs || rows * threads() < kEnoughThreads)) {
      ++shift;
    }
    of_thread = (packs + threads() - 1) / threads();
    if (threads() > kWarp) block = threads();
  }

  // Makes a group, and a block, of `threads`: a power of two from 32 on.
  void give_block_each(int threads) {
    for (shift = 0; (1 << shift) < threads;) ++shift;
    block = threads;
    of_thread = (packs + threads - 1) / threads;
  }

  int threads() const { return 1 << shift; }
  std::int64_t rows_of_block() const { return block / threads(); }
  std::int64_t chunks() const { return (rows + rows_of_block() - 1) / rows_of_block(); }
  dim3 blocks() const { return dim3(static_cast<unsigned>(chunks())); }
  RowGrid grid() const { return {rows, length, packs, shift}; }
};

// A thread in its group.
struct RowThread {
  int threads, thread;
  std::int64_t row;    // may be beyond the last: such groups take part in barriers and shuffles
  std::int64_t packs;  // of the row; 0 beyond the last

  // `block`: the block in the order of the rows.
  __device__ RowThread(const RowGrid& grid, std::int64_t block) {
    threads = 1 << grid.shift;
    thread = static_cast<int>(threadIdx.x) & (threads - 1);
    row = block * (blockDim.x >> grid.shift) + (threadIdx.x >> grid.shift);
    packs = row < grid.rows ? grid.packs : 0;
  }

  // Of all threads of the group, in a fixed order, of K values at once; every thread gets them. All threads of the block
  // call it. Combine must be commutative to the bit.
  template <typename Combine, int K, typename Value>
  __device__ void all(Value (&v)[K]) const {
    const int of_warp = threads < kWarp ? threads : kWarp;
    for (int step = of_warp / 2; step > 0; step /= 2) {
#pragma unroll
      for (int k = 0; k < K; ++k) v[k] = Combine::combine(v[k], __shfl_xor_sync(0xffffffffu, v[k], step));
    }
    if (threads <= kWarp) return;
    __shared__ Value partial[K][kWarp];
    const int warp = static_cast<int>(threadIdx.x) / kWarp, warps = threads / kWarp;
    __syncthreads();  // the last call has been read
    if (threadIdx.x % kWarp == 0) {
#pragma unroll
      for (int k = 0; k < K; ++k) partial[k][warp] = v[k];
    }
    __syncthreads();
    const int from = (warp & ~(warps - 1)) | (static_cast<int>(threadIdx.x) & (warps - 1));
#pragma unroll
    for (int k = 0; k < K; ++k) v[k] = partial[k][from];
    for (int step = warps / 2; step > 0; step /= 2) {
#pragma unroll
      for (int k = 0; k < K; ++k) v[k] = Combine::combine(v[k], __shfl_xor_sync(0xffffffffu, v[k], step));
    }
  }

  struct Add {
    template <typename Value>
    __device__ static Value combine(Value a, Value b) {
      return a + b;
    }
  };
  // A NaN is passed over where there is a number.
  struct Larger {
    __device__ static float combine(float a, float b) { return fmaxf(a, b); }
  };
  template <int K, typename Value>
  __device__ void sum(Value (&v)[K]) const {
    all<Add>(v);
  }
  template <typename Value>
  __device__ Value sum(Value value) const {
    Value v[1] = {value};
    all<Add>(v);
    return v[0];
  }
  __device__ float largest(float value) const {
    float v[1] = {value};
    all<Larger>(v);
    return v[0];
  }

  // The packs of this thread among the P * threads packs from `base` on: calls body(p, first element), p a number of
  // 0, ..., P - 1.
  template <int P, int N, typename Body>
  __device__ void for_packs(std::int64_t base, const Body& body) const {
#pragma unroll
    for (int p = 0; p < P; ++p) {
      const std::int64_t pack = base + thread + static_cast<std::int64_t>(p) * threads;
      if (pack < packs) body(p, pack * N);
    }
  }
  template <int P, int N, typename Body>
  __device__ void for_packs(const Body& body) const {
    for_packs<P, N>(0, body);
  }
};

}  // namespace lockstep
