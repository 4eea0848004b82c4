// The largest element of a row and the sum of its exponentials, for softmax and the loss that ends in it.
#pragma once

#include <cmath>

#include "core/kernel/cuda_long_rows.h"
#include "core/kernel/cuda_rows.h"

namespace lockstep {

// A row that is held on chip by a block, two of which a multiprocessor has room for: one computes while the other loads.
using LongLogits = LongRow<256, 25, 7 * 256>;

template <int kCount>
__device__ inline float largest_of(const float (&x)[kCount]) {
  float top = x[0];
#pragma unroll
  for (int k = 1; k < kCount; ++k) top = fmaxf(top, x[k]);
  return top;
}
template <int P, int N>
__device__ inline float largest_of(const float (&x)[P][N]) {
  float top = largest_of(x[0]);
#pragma unroll
  for (int p = 1; p < P; ++p) top = fmaxf(top, largest_of(x[p]));
  return top;
}
template <int P, int N>
__device__ inline void fill(float (&x)[P][N], float value) {
#pragma unroll
  for (int p = 0; p < P; ++p) {
#pragma unroll
    for (int k = 0; k < N; ++k) x[p][k] = value;
  }
}

// m, the largest of the elements so far, and the sum of exp(x - m). A NaN among them makes the sum NaN, and so does
// +infinity; the largest is never NaN. M. Milakov, N. Gimelshein, "Online normalizer calculation for softmax", 2018.
struct Exponentials {
  float largest = -INFINITY, sum = 0.0f;

  // What exponentials are taken from: exp(-infinity - base) is 0 even where nothing else has been seen.
  __device__ float base() const { return largest == -INFINITY ? 0.0f : largest; }

  // Makes room for elements up to `value`; returns how far the largest moved, 0 where it did not.
  __device__ float rise(float value) {
    if (!(value > largest)) return 0.0f;
    const float distance = value - largest;
    sum = __fmul_rn(sum, expf(-distance));
    largest = value;
    return distance;
  }
  // Elements, none of which is above the largest.
  template <int kCount>
  __device__ void add_below(const float (&x)[kCount]) {
    const float from = base();
#pragma unroll
    for (int k = 0; k < kCount; ++k) sum += expf(x[k] - from);
  }
  template <int kCount>
  __device__ void add(const float (&x)[kCount]) {
    rise(largest_of(x));
    add_below(x);
  }
  // -infinity stands for an element that is not there.
  template <int P, int N>
  __device__ void add(const float (&x)[P][N]) {
    rise(largest_of(x));
#pragma unroll
    for (int p = 0; p < P; ++p) add_below(x[p]);
  }
};

}  // namespace lockstep
