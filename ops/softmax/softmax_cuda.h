// The largest element of a row and the sum of its exponentials, for softmax and the loss that ends in it.
#pragma once

#include <cmath>

#include "core/kernel/cuda_rows.h"

namespace lockstep {

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
  template <int kCount>
  __device__ void add(const float (&x)[kCount]) {
    float top = x[0];
#pragma unroll
    for (int k = 1; k < kCount; ++k) top = fmaxf(top, x[k]);
    rise(top);
    const float from = base();
#pragma unroll
    for (int k = 0; k < kCount; ++k) sum += expf(x[k] - from);
  }
};

}  // namespace lockstep
