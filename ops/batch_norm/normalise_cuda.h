// What the CUDA kernels of batch normalisation share (channels_cuda.h): the statistics of the channels, and the pass of the
// gradient.
//
// Statistics: a thread adds up the distances from its first row, and their squares, so a mean that is large against the
// deviation costs no digits. Threads and pieces are then combined as T. Chan, G. Golub, R. LeVeque, "Updating formulae
// and a pairwise algorithm for computing sample variances", 1979: x is read once.
#pragma once

#include "ops/batch_norm/channels_cuda.h"

namespace lockstep::channels {

inline Cut cut_of(const TensorType& x) {
  return {x.shape.elements(0, x.shape.rank() - 1), x.shape[-1], x.dtype == DType::kF32 ? kPackOf<float> : kPackOf<BFloat16>};
}

// 1 / sqrt(variance + epsilon), and what x is multiplied by. The same bits wherever they are computed: the backward ops
// find again where relu cut off.
__device__ inline float inverse_deviation(float variance, float epsilon) {
  return __fdiv_rn(1.0f, __fsqrt_rn(__fadd_rn(variance, epsilon)));
}
__device__ inline float slope_of(float scale, float variance, float epsilon) {
  return __fmul_rn(scale, inverse_deviation(variance, epsilon));
}

// The vectors that y is computed with.
struct Affine {
  const float *scale, *offset, *mean, *variance;
  float epsilon;

  __device__ float slope(std::int64_t column) const { return slope_of(scale[column], variance[column], epsilon); }
};

// The normalised x of a channel, before relu: what the passes that compute y begin with.
struct Normalised {
  static constexpr int kParameters = 3;
  Affine affine;

  __device__ void prepare(std::int64_t column, float (&p)[3]) const {
    p[0] = affine.mean[column];
    p[1] = affine.slope(column);
    p[2] = affine.offset[column];
  }
  template <int N>
  __device__ static float value(float x, const float (&p)[3][N], int n) {
    return fmaf(x - p[0][n], p[1][n], p[2][n]);
  }
};

template <typename T, int N>
struct OneElement {
  Neighbours<T, N> x;
};
template <typename T, int N>
struct TwoElements {
  Neighbours<T, N> dy, x;
};

// ---- Statistics ----------------------------------------------------------------------------------

// Mean and biased variance.
template <typename T>
struct Moments {
  static constexpr int kRows = 8, kParameters = 1;  // none in truth
  template <int N>
  using Loaded = OneElement<T, N>;

  const T* x;
  double rows;
  float *mean, *variance;

  bool wide() const { return is_aligned(x, 16); }
  __device__ void prepare(std::int64_t, float (&p)[1]) const { p[0] = 0.0f; }
  template <int N>
  __device__ void load(std::int64_t at, Loaded<N>& to) const {
    to.x.load(x + at);
  }

  template <int N>
  struct Lane {
    float shift[N], sum[N], squares[N], count;

    __device__ void add(const Moments&, std::int64_t, const Loaded<N>& loaded, const float (&)[1][N]) {
#pragma unroll
      for (int n = 0; n < N; ++n) {
        const float value = to_float(loaded.x[n]);
        if (count == 0.0f) shift[n] = value;
        const float distance = value - shift[n];
        sum[n] += distance;
        squares[n] = fmaf(distance, distance, squares[n]);
      }
      count += 1.0f;
    }
    // Mean, and the sum of the squared distances from it.
    __device__ void result(float (&v)[2][N]) const {
      const float inverse = count == 0.0f ? 0.0f : 1.0f / count;
#pragma unroll
      for (int n = 0; n < N; ++n) {
        const float mean = sum[n] * inverse, around = fmaf(-mean, sum[n], squares[n]);
        v[0][n] = shift[n] + mean;
        v[1][n] = around < 0.0f ? 0.0f : around;  // NaN stays
      }
    }
  };
  __device__ static void merge(float (&a)[2], float na, const float (&b)[2], float nb) {
    if (nb == 0.0f) return;
    const float share = nb / (na + nb), distance = b[0] - a[0];
    a[0] = fmaf(distance, share, a[0]);
    a[1] = fmaf(distance * distance, na * share, a[1] + b[1]);
  }
  __device__ static void add_piece(const float (&v)[2], const float (&first)[2], double count, double (&sums)[2]) {
    const double distance = static_cast<double>(v[0]) - first[0];
    sums[0] += count * distance;
    sums[1] += v[1] + count * distance * distance;
  }
  __device__ void finish(std::int64_t column, const double (&sums)[2], const float (&first)[2]) const {
    const double distance = sums[0] / rows, around = (sums[1] - distance * sums[0]) / rows;
    mean[column] = static_cast<float>(first[0] + distance);
    variance[column] = static_cast<float>(around < 0.0 ? 0.0 : around);
  }
};

// d of an element: dy, or 0 where relu cut off.
__device__ inline float masked(float dy, float distance, float slope, float offset) {
  return !(fmaf(distance, slope, offset) > 0.0f) ? 0.0f : dy;
}

// A = sum d and B = sum d (x - mean). With r = 1 / sqrt(variance + epsilon) and n rows,
//   doffset = A    dscale = r B
//   dx = scale r (d - A / n - (x - mean) r^2 B / n) + dmean / n + 2 dvariance (x - mean) / n
struct GradientTotals {
  Affine affine;
  float *dscale, *doffset;

  __device__ static void merge(float (&a)[2], float, const float (&b)[2], float) {
    a[0] += b[0];
    a[1] += b[1];
  }
  __device__ static void add_piece(const float (&v)[2], const float (&)[2], double, double (&sums)[2]) {
    sums[0] += v[0];
    sums[1] += v[1];
  }
  __device__ void finish(std::int64_t column, const double (&sums)[2], const float (&)[2]) const {
    doffset[column] = static_cast<float>(sums[0]);
    dscale[column] = inverse_deviation(affine.variance[column], affine.epsilon) * static_cast<float>(sums[1]);
  }
};

// A and B of a thread.
template <int N>
struct GradientLane {
  float a[N], b[N], count;

  __device__ void add_element(int n, float d, float distance) {
    a[n] += d;
    b[n] = fmaf(d, distance, b[n]);
  }
  __device__ void result(float (&v)[2][N]) const {
#pragma unroll
    for (int n = 0; n < N; ++n) {
      v[0][n] = a[n];
      v[1][n] = b[n];
    }
  }
};

// dx = slope d + factor (x - mean) + constant, from the totals.
template <typename T, bool kRelu>
struct Gradient {
  static constexpr int kRows = 4, kParameters = kRelu ? 5 : 4;
  template <int N>
  using Loaded = TwoElements<T, N>;

  const T *dy, *x;
  Affine affine;
  const float *dscale, *doffset;
  const float *dmean, *dvariance;  // the cotangents; null where there are none
  float inverse_rows;
  T* dx;

  bool wide() const { return is_aligned(dy, 16) && is_aligned(x, 16) && is_aligned(dx, 16); }
  __device__ void prepare(std::int64_t column, float (&p)[kParameters]) const {
    const float slope = affine.slope(column), inverse = inverse_deviation(affine.variance[column], affine.epsilon);
    float factor = -slope * inverse * dscale[column], constant = -slope * doffset[column];
    if (dmean != nullptr) {
      factor += 2.0f * dvariance[column];
      constant += dmean[column];
    }
    p[0] = affine.mean[column];
    p[1] = slope;
    p[2] = factor * inverse_rows;
    p[3] = constant * inverse_rows;
    if constexpr (kRelu) p[4] = affine.offset[column];
  }
  template <int N>
  __device__ void load(std::int64_t at, Loaded<N>& to) const {
    to.dy.load(dy + at);
    to.x.load(x + at);
  }
  template <int N>
  __device__ void store(std::int64_t at, const Loaded<N>& loaded, const float (&p)[kParameters][N]) const {
    T out[N];
#pragma unroll
    for (int n = 0; n < N; ++n) {
      const float distance = to_float(loaded.x[n]) - p[0][n];
      float d = to_float(loaded.dy[n]);
      if constexpr (kRelu) d = masked(d, distance, p[1][n], p[4][n]);
      out[n] = from_float<T>(fmaf(p[1][n], d, fmaf(p[2][n], distance, p[3][n])));
    }
    store_pack_at(dx, at, true, out);
  }
};

inline float inverse_of(std::int64_t rows) { return static_cast<float>(1.0 / static_cast<double>(std::max<std::int64_t>(1, rows))); }

}  // namespace lockstep::channels
