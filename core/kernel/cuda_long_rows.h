// A long row of float that one block holds on chip, so that it is read once although it is needed twice: by its sum or its
// largest element, and again for the result.
//
//   using Row = LongRow<256, 25, 1792>;                // 256 threads, 25 packs of each in registers, 1792 in shared memory
//   Row::fits(length)                                  // when the kernel is made
//   Row row({x + first}, packs, Wide{});               // in the kernel, of Row::kBlock threads
//   row.each([&](const float (&x)[1][4], int i) { ... });
//
// A multiprocessor has 256 KB of registers, more than it has of anything else; the fewer threads share them, the more
// hold elements. With the 48 KB of static shared memory that a block may have, that is room for two rows of 32768 elements, of two
// blocks, or for two tensors' rows, of one block. All loads of a thread are in flight together: up to 256 KB of a
// multiprocessor, many times what the rate of the memory times its latency asks for.
//
// The elements are dealt in packs of four: thread t has the packs t, t + kBlock, ... A slot of shared memory belongs to one
// thread, so no barrier is needed.
#pragma once

#include <cuda_pipeline_primitives.h>

#include <cstdint>
#include <type_traits>

#include "core/kernel/cuda_elementwise.h"

namespace lockstep {

// kThreadsOfBlock: a power of two. P: packs of a thread in registers. kSlots: packs of the block in shared memory. K: tensors of
// the same extents, whose elements are needed together.
template <int kThreadsOfBlock, int P, int kSlots, int K = 1>
class LongRow {
 public:
  static constexpr int kBlock = kThreadsOfBlock;
  static constexpr int N = 4;  // elements of a pack

  static bool fits(std::int64_t length) { return length % N == 0 && length / N <= kBlock * P + kSlots; }

  // `wide`: a type whose `value` says that packs are aligned; the order of the elements is the same if not.
  template <typename Wide>
  __device__ LongRow(const float* const (&from)[K], int packs, Wide) : packs_(packs), thread_(static_cast<int>(threadIdx.x)) {
    const float* mine[K];
#pragma unroll
    for (int k = 0; k < K; ++k) mine[k] = from[k] + thread_ * N;
    // What goes to shared memory takes no registers on its way.
#pragma unroll
    for (int s = 0; s < kLate; ++s) {
      if (!has(P + s)) continue;
#pragma unroll
      for (int k = 0; k < K; ++k) copy<Wide>(slot(k, s), mine[k] + (P + s) * kBlock * N);
    }
    __pipeline_commit();
#pragma unroll
    for (int p = 0; p < P; ++p) {
      if (!has(p)) continue;
#pragma unroll
      for (int k = 0; k < K; ++k) load_elements(mine[k] + p * kBlock * N, N, Wide::value, held_[p][k]);
    }
    __syncthreads();  // else the compiler waits first and loads then
    __pipeline_wait_prior(0);
  }

  // Calls body(elements, index of the first of them) for all packs of this thread, in the same order each time.
  template <typename Body>
  __device__ void each(const Body& body) const {
#pragma unroll
    for (int p = 0; p < P; ++p) {
      if (has(p)) body(held_[p], index(p));
    }
#pragma unroll
    for (int s = 0; s < kLate; ++s) {
      if (!has(P + s)) continue;
      float elements[K][N];
      take(s, elements);
      body(elements, index(P + s));
    }
  }
  // The same; body may change the elements.
  template <typename Body>
  __device__ void change(const Body& body) {
#pragma unroll
    for (int p = 0; p < P; ++p) {
      if (has(p)) body(held_[p], index(p));
    }
#pragma unroll
    for (int s = 0; s < kLate; ++s) {
      if (!has(P + s)) continue;
      float elements[K][N];
      take(s, elements);
      body(elements, index(P + s));
      keep(s, elements);
    }
  }

 private:
  static constexpr int kLate = (kSlots + kBlock - 1) / kBlock;  // packs of a thread in shared memory, at most

  __device__ bool has(int p) const { return p * kBlock + thread_ < packs_; }
  __device__ int index(int p) const { return (p * kBlock + thread_) * N; }

  // The place of pack s of this thread.
  __device__ float* slot(int k, int s) const {
    alignas(16) __shared__ float slots[K][kSlots][N];
    return slots[k][s * kBlock + thread_];
  }
  template <typename Wide>
  __device__ static void copy(float* to, const float* from) {
    if constexpr (Wide::value) {
      __pipeline_memcpy_async(to, from, N * sizeof(float));
    } else {
#pragma unroll
      for (int n = 0; n < N; ++n) __pipeline_memcpy_async(to + n, from + n, sizeof(float));
    }
  }
  __device__ void keep(int s, const float (&elements)[K][N]) {
#pragma unroll
    for (int k = 0; k < K; ++k) {
      float pack[N];
#pragma unroll
      for (int n = 0; n < N; ++n) pack[n] = elements[k][n];
      store_pack(slot(k, s), pack);
    }
  }
  __device__ void take(int s, float (&elements)[K][N]) const {
#pragma unroll
    for (int k = 0; k < K; ++k) load_pack(slot(k, s), elements[k]);
  }

  float held_[P][K][N];
  int packs_, thread_;
};

}  // namespace lockstep
