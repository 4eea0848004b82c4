// What the CPU kernels of batch normalisation share: the rows of a matrix cut into pieces and blocks, the statistics of its
// channels, and the sums and the pass of the gradient.
//
// x is a row-major matrix (rows, channels). Narrow matrices are read as if several rows stood side
// by side, so that the loops over a row are long enough for vectors; a row below is such a wide
// row, and the rows that do not fill one are the rest.
//
// Statistics: blocks of rows that stay in the cache are summed twice, for their mean and for the
// squares of the distances from it; the blocks are then combined in f64 (T. Chan, G. Golub, R.
// LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances", 1979). So x
// is read once from memory, and a mean that is large against the deviation costs no digits. The
// order depends on the extents and the number of threads only.
#pragma once

#include <algorithm>
#include <cmath>

#include "ops/cpu_kernel.h"

namespace lockstep::channels_cpu {

// Loops that store T are marked by "ivdep": g++ 12 does not vectorise stores of BFloat16 under "omp
// simd".
inline constexpr std::int64_t kWide = 128;           // floats that a row should have
inline constexpr std::int64_t kBlockFloats = 16384;  // floats of a block: half of an L2 cache at most
inline constexpr std::int64_t kGroup = 8;            // rows that are added at once; blocks are multiples

struct Extents {
  std::int64_t channels, side_by_side, width;  // width = channels * side_by_side
  std::int64_t rows, rest;                     // wide rows; narrow rows that are left
  std::int64_t block;                          // wide rows of a block
  int pieces;                                  // threads that work

  Extents(const Shape& shape, int threads) {
    channels = shape[-1];
    const std::int64_t narrow = shape.elements(0, shape.rank() - 1);
    const std::int64_t fit = channels > 0 ? kWide / channels : 1;
    side_by_side = std::clamp<std::int64_t>(fit, 1, std::max<std::int64_t>(1, narrow));
    width = channels * side_by_side;
    rows = narrow / side_by_side;
    rest = narrow % side_by_side;
    const std::int64_t groups = kBlockFloats / kGroup / std::max<std::int64_t>(1, width);
    block = kGroup * std::clamp<std::int64_t>(groups, 1, 8);
    const std::int64_t worth = std::max<std::int64_t>(1, shape.elements() / kElementGrain);
    pieces = static_cast<int>(std::min<std::int64_t>(threads, worth));
  }
  double count() const { return static_cast<double>(rows * side_by_side + rest); }
};

// Sums over rows, side by side for all columns: sum[j] += term(i, j) over `rows` rows. The rows of
// a group are added as a tree.
template <typename Term>
[[gnu::always_inline]] inline void sum_columns(std::int64_t rows, std::int64_t width, float* sum,
                                               const Term& term) {
  std::int64_t i = 0;
  for (; i + kGroup <= rows; i += kGroup) {
#pragma omp simd
    for (std::int64_t j = 0; j < width; ++j) {
      const float low = (term(i, j) + term(i + 1, j)) + (term(i + 2, j) + term(i + 3, j));
      const float high = (term(i + 4, j) + term(i + 5, j)) + (term(i + 6, j) + term(i + 7, j));
      sum[j] += low + high;
    }
  }
  for (; i < rows; ++i) {
#pragma omp simd
    for (std::int64_t j = 0; j < width; ++j) sum[j] += term(i, j);
  }
}

// Calls body(piece, begin, end) for the pieces of the wide rows, each on its thread.
template <typename Body>
void for_pieces(const Extents& e, const Body& body) {
  parallel_for(e.pieces, e.pieces, 1, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t piece = first; piece < last; ++piece) {
      body(piece, e.rows * piece / e.pieces, e.rows * (piece + 1) / e.pieces);
    }
  });
}

// ---- Statistics --------------------------------------------------------------------------------

// Mean and sum of squared distances from it, by column, with the number of rows behind them.
struct Moments {
  double *mean, *squares;
  double count = 0;

  // Chan's formula.
  template <typename Float>
  void merge(const Float* other_mean, const Float* other_squares, double other_count,
             std::int64_t width) {
    if (other_count == 0) return;
    const double share = other_count / (count + other_count), weight = count * share;
#pragma omp simd
    for (std::int64_t j = 0; j < width; ++j) {
      const double distance = other_mean[j] - mean[j];
      mean[j] += distance * share;
      squares[j] += other_squares[j] + distance * distance * weight;
    }
    count += other_count;
  }
};

// The moments of `rows` rows of x, in blocks; `scratch` has 2 * width floats.
template <typename T>
Moments moments_of(const T* x, std::int64_t rows, std::int64_t block, std::int64_t width,
                   double* mean, double* squares, float* scratch) {
  Moments moments{mean, squares};
  std::fill(mean, mean + width, 0.0);
  std::fill(squares, squares + width, 0.0);
  float *block_mean = scratch, *block_squares = scratch + width;
  for (std::int64_t begin = 0; begin < rows; begin += block) {
    const std::int64_t length = std::min(block, rows - begin);
    const T* part = x + begin * width;
    std::fill(scratch, scratch + 2 * width, 0.0f);
    sum_columns(length, width, block_mean,
                [=](std::int64_t i, std::int64_t j) { return float(part[i * width + j]); });
    const float scale = 1.0f / static_cast<float>(length);
#pragma omp simd
    for (std::int64_t j = 0; j < width; ++j) block_mean[j] *= scale;
    sum_columns(length, width, block_squares, [=](std::int64_t i, std::int64_t j) {
      const float distance = float(part[i * width + j]) - block_mean[j];
      return distance * distance;
    });
    moments.merge(block_mean, block_squares, static_cast<double>(length), width);
  }
  return moments;
}

// Workspace of the statistics: 2 * width doubles and 2 * width floats a piece, and one piece more
// for the rest.
inline std::size_t statistics_bytes(const Extents& e) {
  return static_cast<std::size_t>((e.pieces + 1) * e.width) * 2 * (sizeof(double) + sizeof(float));
}

// Mean and biased variance of each channel.
template <typename T>
void compute_statistics(const Extents& e, const T* x, void* workspace, float* mean,
                        float* variance) {
  double* doubles = static_cast<double*>(workspace);
  float* floats = reinterpret_cast<float*>(doubles + 2 * e.width * (e.pieces + 1));
  auto at = [=](std::int64_t piece) { return doubles + 2 * e.width * piece; };
  auto scratch = [=](std::int64_t piece) { return floats + 2 * e.width * piece; };
  for_pieces(e, [=](std::int64_t piece, std::int64_t begin, std::int64_t end) {
    moments_of(x + begin * e.width, end - begin, e.block, e.width, at(piece), at(piece) + e.width,
               scratch(piece));
  });
  auto rows_of = [=](std::int64_t piece) {
    return static_cast<double>(e.rows * (piece + 1) / e.pieces - e.rows * piece / e.pieces);
  };
  // Everything into the first piece, then into its first channels: the other threads, the rows side
  // by side, the rest.
  Moments total{at(0), at(0) + e.width, rows_of(0)};
  for (std::int64_t piece = 1; piece < e.pieces; ++piece) {
    total.merge(at(piece), at(piece) + e.width, rows_of(piece), e.width);
  }
  const double rows = total.count;
  for (std::int64_t k = 1; k < e.side_by_side; ++k) {
    total.merge(total.mean + k * e.channels, total.squares + k * e.channels, rows, e.channels);
  }
  const Moments rest = moments_of(x + e.rows * e.width, e.rest, e.block, e.channels, at(e.pieces),
                                  at(e.pieces) + e.channels, scratch(e.pieces));
  total.merge(rest.mean, rest.squares, rest.count, e.channels);
  for (std::int64_t c = 0; c < e.channels; ++c) {
    mean[c] = static_cast<float>(total.mean[c]);
    variance[c] = static_cast<float>(total.squares[c] / e.count());
  }
}

// ---- Normalisation -----------------------------------------------------------------------------

// scale / sqrt(variance + epsilon)
[[gnu::always_inline]] inline float slope(float scale, float variance, double epsilon) {
  return static_cast<float>(scale / std::sqrt(double{variance} + epsilon));
}

// What a column is computed with: y = (x - mean) * slope + offset.
struct Columns {
  float *mean, *slope, *offset;

  static constexpr int kArrays = 3;
  Columns(float* memory, std::int64_t width)
      : mean(memory), slope(memory + width), offset(memory + 2 * width) {}
};

// Repeats the first `channels` values until there are `width`.
inline void repeat(float* values, std::int64_t channels, std::int64_t width) {
  for (std::int64_t j = channels; j < width; ++j) values[j] = values[j - channels];
}

inline void prepare_columns(const Extents& e, double epsilon, const float* scale, const float* offset,
                            const float* mean, const float* variance, const Columns& columns) {
  for (std::int64_t c = 0; c < e.channels; ++c) {
    columns.mean[c] = mean[c];
    columns.slope[c] = slope(scale[c], variance[c], epsilon);
    columns.offset[c] = offset[c];
  }
  for (float* values : {columns.mean, columns.slope, columns.offset}) {
    repeat(values, e.channels, e.width);
  }
}

// ---- Backward ----------------------------------------------------------------------------------
//
// With n rows, d = dy (0 where relu cut off), A = sum d, B = sum d (x - mean), r = 1 /
// sqrt(variance + epsilon):
//   doffset = A    dscale = r B
//   dx = scale r (d - A / n - (x - mean) r^2 B / n) + dmean / n + 2 dvariance (x - mean) / n
//      = slope d + factor (x - mean) + constant
//
// Where mean and variance are given, they do not depend on x:
//   dx = scale r d    dmean = -scale r A    dvariance = -scale r^3 B / 2

// d of one element.
template <bool kRelu>
[[gnu::always_inline]] inline float masked(float dy, float distance, float slope, float offset) {
  return kRelu && !(std::fma(distance, slope, offset) > 0.0f) ? 0.0f : dy;
}

// The columns of the forward op, and those of dx.
struct BackwardColumns : Columns {
  float *factor, *constant;

  static constexpr int kArrays = 5;
  BackwardColumns(float* memory, std::int64_t width)
      : Columns(memory, width), factor(memory + 3 * width), constant(memory + 4 * width) {}
};

// A and B by column, in f64: f32 within a block. `scratch` has 2 * width floats. Calls before(first, count) before it reads
// these elements of dy.
template <bool kRelu, typename T, typename Before>
void backward_sums(const T* dy, const T* x, std::int64_t rows, std::int64_t block,
                   std::int64_t width, const Columns& columns, double* a, double* b,
                   float* scratch, const Before& before) {
  const float *mean = columns.mean, *slope = columns.slope, *offset = columns.offset;
  std::fill(a, a + width, 0.0);
  std::fill(b, b + width, 0.0);
  float *block_a = scratch, *block_b = scratch + width;
  for (std::int64_t begin = 0; begin < rows; begin += block) {
    const std::int64_t length = std::min(block, rows - begin);
    const T *part = x + begin * width, *dpart = dy + begin * width;
    before(begin * width, length * width);
    std::fill(scratch, scratch + 2 * width, 0.0f);
    auto d = [=](std::int64_t i, std::int64_t j) {
      const float distance = float(part[i * width + j]) - mean[j];
      return masked<kRelu>(float(dpart[i * width + j]), distance, slope[j], offset[j]);
    };
    sum_columns(length, width, block_a, d);
    sum_columns(length, width, block_b, [=](std::int64_t i, std::int64_t j) {
      return d(i, j) * (float(part[i * width + j]) - mean[j]);
    });
#pragma omp simd
    for (std::int64_t j = 0; j < width; ++j) {
      a[j] += block_a[j];
      b[j] += block_b[j];
    }
  }
}

// to[j] += from[j] over the first `width` columns of two sums.
inline void add_sums(const double* from_a, const double* from_b, std::int64_t width, double* a,
                     double* b) {
#pragma omp simd
  for (std::int64_t j = 0; j < width; ++j) {
    a[j] += from_a[j];
    b[j] += from_b[j];
  }
}

template <bool kRelu, typename T>
void backward_rows(const T* dy, const T* x, std::int64_t rows, std::int64_t width,
                   const BackwardColumns& columns, T* dx) {
  const float *mean = columns.mean, *slope = columns.slope, *offset = columns.offset;
  const float *factor = columns.factor, *constant = columns.constant;
  for (std::int64_t i = 0; i < rows; ++i) {
    const T *dfrom = dy + i * width, *from = x + i * width;
    T* to = dx + i * width;
#pragma GCC ivdep
    for (std::int64_t j = 0; j < width; ++j) {
      const float distance = float(from[j]) - mean[j];
      const float d = masked<kRelu>(float(dfrom[j]), distance, slope[j], offset[j]);
      to[j] = T(std::fma(slope[j], d, std::fma(factor[j], distance, constant[j])));
    }
  }
}
// dx and the gradients of the vectors, f32(channels), from the elements of dy and x.
template <typename T>
struct GradientData {
  const T *dy, *x;
  const float *scale, *offset, *mean, *variance;
  T* dx;
  float *dscale, *doffset;
  // The cotangents of mean and variance; null where there are none.
  const float *dmean = nullptr, *dvariance = nullptr;
  // Where mean and variance were given: their gradients; else null.
  float *mean_gradient = nullptr, *variance_gradient = nullptr;
};

inline std::size_t gradient_bytes(const Extents& e) {
  const auto sums = static_cast<std::size_t>(2 * e.width * (e.pieces + 1));
  return sums * (sizeof(double) + sizeof(float)) + static_cast<std::size_t>(BackwardColumns::kArrays * e.width) * sizeof(float);
}

// `workspace` has gradient_bytes(). Calls before(first, count), on any thread, before it reads these elements of dy, each once.
template <bool kRelu, typename T, typename Before>
void compute_gradient(const Extents& e, double epsilon, const GradientData<T>& data, void* workspace, const Before& before) {
  const std::int64_t doubles = 2 * e.width * (e.pieces + 1);
  double* sums = static_cast<double*>(workspace);
  float* scratch = reinterpret_cast<float*>(sums + doubles);
  const BackwardColumns columns(scratch + doubles, e.width);
  prepare_columns(e, epsilon, data.scale, data.offset, data.mean, data.variance, columns);
  const T *dy = data.dy, *x = data.x;
  T* dx = data.dx;

  auto a = [=](std::int64_t piece) { return sums + 2 * e.width * piece; };
  auto b = [=](std::int64_t piece) { return a(piece) + e.width; };
  for_pieces(e, [&](std::int64_t piece, std::int64_t begin, std::int64_t end) {
    const std::int64_t from = begin * e.width;
    backward_sums<kRelu>(dy + from, x + from, end - begin, e.block, e.width, columns, a(piece), b(piece),
                         scratch + 2 * e.width * piece,
                         [&](std::int64_t first, std::int64_t count) { before(from + first, count); });
  });
  for (std::int64_t piece = 1; piece < e.pieces; ++piece) {
    add_sums(a(piece), b(piece), e.width, a(0), b(0));
  }
  for (std::int64_t k = 1; k < e.side_by_side; ++k) {
    add_sums(a(0) + k * e.channels, b(0) + k * e.channels, e.channels, a(0), b(0));
  }
  const std::int64_t done = e.rows * e.width;
  backward_sums<kRelu>(dy + done, x + done, e.rest, e.block, e.channels, columns, a(e.pieces), b(e.pieces),
                       scratch + 2 * e.width * e.pieces,
                       [&](std::int64_t first, std::int64_t count) { before(done + first, count); });
  add_sums(a(e.pieces), b(e.pieces), e.channels, a(0), b(0));

  for (std::int64_t c = 0; c < e.channels; ++c) {
    const double r = 1.0 / std::sqrt(double{data.variance[c]} + epsilon);
    data.dscale[c] = static_cast<float>(r * b(0)[c]);
    data.doffset[c] = static_cast<float>(a(0)[c]);
    double factor = -data.scale[c] * r * r * r * b(0)[c], constant = -data.scale[c] * r * a(0)[c];
    if (data.mean_gradient != nullptr) {
      data.mean_gradient[c] = static_cast<float>(constant);
      data.variance_gradient[c] = static_cast<float>(0.5 * factor);
      factor = constant = 0;
    }
    if (data.dmean != nullptr) {
      factor += 2.0 * data.dvariance[c];
      constant += data.dmean[c];
    }
    columns.factor[c] = static_cast<float>(factor / std::max(1.0, e.count()));
    columns.constant[c] = static_cast<float>(constant / std::max(1.0, e.count()));
  }
  repeat(columns.factor, e.channels, e.width);
  repeat(columns.constant, e.channels, e.width);
  for_pieces(e, [=](std::int64_t, std::int64_t begin, std::int64_t end) {
    const std::int64_t from = begin * e.width;
    backward_rows<kRelu>(dy + from, x + from, end - begin, e.width, columns, dx + from);
  });
  backward_rows<kRelu>(dy + done, x + done, e.rest, e.channels, columns, dx + done);
}

}  // namespace lockstep::channels_cpu
