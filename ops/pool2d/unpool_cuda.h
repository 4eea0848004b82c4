// CUDA kernels of the gradients of the poolings. A thread has a pack of neighbouring channels of one pixel of the image, or of
// four, and gathers from the windows that they belong to, in the windows' order: nothing is added up by two threads, and an
// element has the same bits in both kernels.
#pragma once

#include <algorithm>
#include <type_traits>

#include "ops/activation/activation_cuda.h"
#include "ops/pool2d/pooling_cuda.h"

namespace lockstep::cuda_pooling {

// ---- What a window gives to one of its elements ------------------------------------------------------

// dy where the element is the maximum. Function: of an activation before the pooling.
template <typename T, typename Function>
struct FromMaximum {
  using Element = T;
  const T* dy;
  const std::uint8_t* positions;
  const T* y;  // where there is an activation
  Function function;

  template <int N>
  struct Loaded {
    Neighbours<T, N> dy, y;
    Neighbours<std::uint8_t, N> position;
  };
  template <int N>
  bool wide() const {
    return is_aligned(dy, 16) && is_aligned(positions, N) && is_aligned(y, 16);
  }
  template <int N>
  __device__ void load(std::int64_t i, Loaded<N>& to) const {
    to.dy.load(dy + i);
    to.position.load(positions + i);
    if constexpr (!std::is_same_v<Function, cuda_activation::Identity>) to.y.load(y + i);
  }
  __device__ float share(const Pooling&, int, int) const { return 1.0f; }
  // `number`: of the element in the window.
  template <int N>
  __device__ void add(const Loaded<N>& loaded, float, int number, float (&sum)[N]) const {
#pragma unroll
    for (int k = 0; k < N; ++k) {
      float d = loaded.dy.number(k);
      if constexpr (!std::is_same_v<Function, cuda_activation::Identity>) d = function.backward(d, loaded.y.number(k));
      if (loaded.position[k] == number) sum[k] += d;
    }
  }
};

// An equal share for each element inside the image.
template <typename T>
struct FromAverage {
  using Element = T;
  const T* dy;

  template <int N>
  struct Loaded {
    Neighbours<T, N> dy;
  };
  template <int N>
  bool wide() const {
    return is_aligned(dy, 16);
  }
  template <int N>
  __device__ void load(std::int64_t i, Loaded<N>& to) const {
    to.dy.load(dy + i);
  }
  __device__ float share(const Pooling& p, int oh, int ow) const {
    return 1.0f / static_cast<float>(p.rows.inside(oh).count() * p.columns.inside(ow).count());
  }
  template <int N>
  __device__ void add(const Loaded<N>& loaded, float share, int, float (&sum)[N]) const {
#pragma unroll
    for (int k = 0; k < N; ++k) sum[k] = fmaf(loaded.dy.number(k), share, sum[k]);
  }
};

template <typename T, int N>
__device__ inline void store_sums(const float (&sum)[N], T* to) {
  T out[N];
#pragma unroll
  for (int k = 0; k < N; ++k) out[k] = from_float<T>(sum[k]);
  store_elements(to, N, true, out);
}

// ---- Any windows ---------------------------------------------------------------------------------

// kOverlap > 0: an element belongs to that many windows along each axis at most, which are loaded all at once.
template <typename From, int N, int kOverlap>
__global__ void __launch_bounds__(kThreads)
    unpool(Pooling p, Pixels pixels, From from, typename From::Element* dx) {
  using Loaded = typename From::template Loaded<N>;
  const Place<N, std::int64_t> at(pixels);
  if (at.thread >= pixels.count) return;
  const Windows rows = p.rows.windows(at.row), columns = p.columns.windows(at.column);
  float sum[N] = {};
  if constexpr (kOverlap > 0) {
    Loaded loaded[kOverlap * kOverlap];
    const auto is_there = [&](int i) {
      return rows.first + i / kOverlap <= rows.last && columns.first + i % kOverlap <= columns.last;
    };
#pragma unroll
    for (int i = 0; i < kOverlap * kOverlap; ++i) {
      if (!is_there(i)) continue;
      from.template load<N>(at.output(p, rows.first + i / kOverlap, columns.first + i % kOverlap), loaded[i]);
    }
#pragma unroll
    for (int i = 0; i < kOverlap * kOverlap; ++i) {
      if (!is_there(i)) continue;
      const int oh = rows.first + i / kOverlap, ow = columns.first + i % kOverlap;
      const int a = p.rows.element_of(rows, oh), b = p.columns.element_of(columns, ow);
      if (a < 0 || b < 0) continue;
      from.template add<N>(loaded[i], from.share(p, oh, ow), a * p.columns.size + b, sum);
    }
  } else {
    for (int oh = rows.first; oh <= rows.last; ++oh) {
      const int a = p.rows.element_of(rows, oh);
      if (a < 0) continue;
      for (int ow = columns.first; ow <= columns.last; ++ow) {
        const int b = p.columns.element_of(columns, ow);
        if (b < 0) continue;
        Loaded loaded;
        from.template load<N>(at.output(p, oh, ow), loaded);
        from.template add<N>(loaded, from.share(p, oh, ow), a * p.columns.size + b, sum);
      }
    }
  }
  store_sums(sum, dx + at.thread * N);
}

// ---- Windows of 2 x 2 and of 3 x 3 with strides of 2 ---------------------------------------------------

// The image falls into cells of 2 x 2 elements that a thread has together: where they lie in their windows is known when this is
// compiled, and what is worked out once (the place, dy as floats) serves four stores.
//
// Along an axis, counted from the begin of window 0, cell i has the elements 2 i + kSize - 2 and 2 i + kSize - 1. They belong
// to the windows i, ..., i + kSize - 2: of 2 x 2 to one, of 3 x 3 the first to one and the second to two.
template <int kSize>
struct CellAxis {
  int first = 0, count = 0;  // cells; those at the ends may lie in part outside the image, so the first may be -1

  explicit CellAxis(const Axis& axis) {
    const auto of = [](int element) { return (element - (kSize - 2) + 2) / 2 - 1; };  // rounded down, from -2 on
    first = of(axis.before);
    count = of(axis.before + axis.extent - 1) - first + 1;
  }
};

template <typename From, int N, int kSize>
__global__ void __launch_bounds__(kThreads)
    unpool_cells(Pooling p, Pixels cells, int first_row, int first_column, From from, typename From::Element* dx) {
  constexpr int kWindows = kSize - 1;
  const Place<N, std::int32_t> at(cells);
  if (at.thread >= cells.count) return;
  const int row = first_row + at.row, column = first_column + at.column;
  const auto is_there = [&](int i, int j) { return p.rows.has_output(row + i) && p.columns.has_output(column + j); };
  typename From::template Loaded<N> loaded[kWindows][kWindows];
#pragma unroll
  for (int i = 0; i < kWindows; ++i) {
#pragma unroll
    for (int j = 0; j < kWindows; ++j) {
      if (is_there(i, j)) from.template load<N>(at.output(p, row + i, column + j), loaded[i][j]);
    }
  }
  float sum[2][2][N] = {};
#pragma unroll
  for (int i = 0; i < kWindows; ++i) {
#pragma unroll
    for (int j = 0; j < kWindows; ++j) {
      if (!is_there(i, j)) continue;
      const float share = from.share(p, row + i, column + j);
#pragma unroll
      for (int h = 0; h < 2; ++h) {
#pragma unroll
        for (int w = 0; w < 2; ++w) {
          const int a = kSize - 2 + h - 2 * i, b = kSize - 2 + w - 2 * j;  // of the window; known here
          if (a >= 0 && b >= 0) from.template add<N>(loaded[i][j], share, a * kSize + b, sum[h][w]);
        }
      }
    }
  }
  const int y = 2 * row + kSize - 2 - p.rows.before, x = 2 * column + kSize - 2 - p.columns.before;
#pragma unroll
  for (int h = 0; h < 2; ++h) {
#pragma unroll
    for (int w = 0; w < 2; ++w) {
      if (p.rows.has(y + h) && p.columns.has(x + w)) store_sums(sum[h][w], dx + at.input(p, y + h, x + w));
    }
  }
}

// ---- Launches ------------------------------------------------------------------------------------

template <int N, int kOverlap, typename From>
void launch_unpool(const Launch& on, const Pooling& p, const From& from) {
  const Pixels pixels(p.images, p.rows.extent, p.columns.extent, p.channels / N);
  launch(on, blocks_for(pixels.count, kThreads), kThreads, unpool<From, N, kOverlap>, p, pixels, from,
         on.output<typename From::Element>(0));
}

template <int N, int kSize, typename From>
void launch_unpool_cells(const Launch& on, const Pooling& p, const From& from) {
  const CellAxis<kSize> rows(p.rows), columns(p.columns);
  const Pixels cells(p.images, rows.count, columns.count, p.channels / N);
  launch(on, blocks_for(cells.count, kThreads), kThreads, unpool_cells<From, N, kSize>, p, cells, rows.first, columns.first,
         from, on.output<typename From::Element>(0));
}

template <typename From>
void launch_unpool(const Launch& on, const Pooling& p, const From& from) {
  constexpr int N = kPackOf<typename From::Element>;
  const bool wide = p.channels % N == 0 && is_aligned(on.outputs[0], 16) && from.template wide<N>();
  if (!wide) return launch_unpool<1, 0>(on, p, from);
  if (p.is_small(N)) {
    if (p.rows.is_halving(2) && p.columns.is_halving(2)) return launch_unpool_cells<N, 2>(on, p, from);
    if (p.rows.is_halving(3) && p.columns.is_halving(3)) return launch_unpool_cells<N, 3>(on, p, from);
  }
  const std::int64_t overlap = std::max(p.rows.overlap(), p.columns.overlap());
  if (overlap == 1) return launch_unpool<N, 1>(on, p, from);
  if (overlap == 2) return launch_unpool<N, 2>(on, p, from);
  launch_unpool<N, 0>(on, p, from);
}

}  // namespace lockstep::cuda_pooling
