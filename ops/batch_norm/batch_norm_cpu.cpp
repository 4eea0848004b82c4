// CPU kernels of batch normalisation.
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
#include <algorithm>
#include <cmath>

#include "ops/batch_norm/batch_norm.h"
#include "ops/cpu_kernel.h"

namespace lockstep {
namespace {

// Loops that store T are marked by "ivdep": g++ 12 does not vectorise stores of BFloat16 under "omp
// simd".
constexpr std::int64_t kWide = 128;           // floats that a row should have
constexpr std::int64_t kBlockFloats = 16384;  // floats of a block: half of an L2 cache at most
constexpr std::int64_t kGroup = 8;            // rows that are added at once; blocks are multiples

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
std::size_t statistics_bytes(const Extents& e) {
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
void repeat(float* values, std::int64_t channels, std::int64_t width) {
  for (std::int64_t j = channels; j < width; ++j) values[j] = values[j - channels];
}

void prepare_columns(const Extents& e, double epsilon, const float* scale, const float* offset,
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

template <bool kRelu, typename T>
void normalise_rows(const T* x, std::int64_t rows, std::int64_t width, const Columns& columns,
                    T* y) {
  const float *mean = columns.mean, *slope = columns.slope, *offset = columns.offset;
  for (std::int64_t i = 0; i < rows; ++i) {
    const T* from = x + i * width;
    T* to = y + i * width;
#pragma GCC ivdep
    for (std::int64_t j = 0; j < width; ++j) {
      const float value = std::fma(float(from[j]) - mean[j], slope[j], offset[j]);
      to[j] = T(kRelu && value < 0.0f ? 0.0f : value);
    }
  }
}

template <bool kRelu, typename T>
void normalise(const Extents& e, const T* x, const Columns& columns, T* y) {
  for_pieces(e, [=](std::int64_t, std::int64_t begin, std::int64_t end) {
    normalise_rows<kRelu>(x + begin * e.width, end - begin, e.width, columns, y + begin * e.width);
  });
  const std::int64_t done = e.rows * e.width;
  normalise_rows<kRelu>(x + done, e.rest, e.channels, columns, y + done);
}

template <bool kRelu, typename T>
Kernel make_batch_norm(const KernelRequest& request, double epsilon) {
  const Extents e(request.inputs[0].shape, cpu_threads(request));
  auto run = [=](const Launch& launch) {
    const T* x = launch.input<T>(0);
    float *mean = launch.output<float>(1), *variance = launch.output<float>(2);
    compute_statistics(e, x, launch.workspace, mean, variance);
    const Columns columns(static_cast<float*>(launch.workspace), e.width);
    prepare_columns(e, epsilon, launch.input<float>(1), launch.input<float>(2), mean, variance,
                    columns);
    normalise<kRelu>(e, x, columns, launch.output<T>(0));
  };
  return {"batch_norm_cpu", run, statistics_bytes(e)};
}

template <bool kRelu, typename T>
Kernel make_inference(const KernelRequest& request, double epsilon) {
  const Extents e(request.inputs[0].shape, cpu_threads(request));
  auto run = [=](const Launch& launch) {
    const Columns columns(static_cast<float*>(launch.workspace), e.width);
    prepare_columns(e, epsilon, launch.input<float>(1), launch.input<float>(2),
                    launch.input<float>(3), launch.input<float>(4), columns);
    normalise<kRelu>(e, launch.input<T>(0), columns, launch.output<T>(0));
  };
  return {"batch_norm_inference_cpu", run, Columns::kArrays * e.width * sizeof(float)};
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

// A and B by column, in f64: f32 within a block. `scratch` has 2 * width floats.
template <bool kRelu, typename T>
void backward_sums(const T* dy, const T* x, std::int64_t rows, std::int64_t block,
                   std::int64_t width, const Columns& columns, double* a, double* b,
                   float* scratch) {
  const float *mean = columns.mean, *slope = columns.slope, *offset = columns.offset;
  std::fill(a, a + width, 0.0);
  std::fill(b, b + width, 0.0);
  float *block_a = scratch, *block_b = scratch + width;
  for (std::int64_t begin = 0; begin < rows; begin += block) {
    const std::int64_t length = std::min(block, rows - begin);
    const T *part = x + begin * width, *dpart = dy + begin * width;
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
void add_sums(const double* from_a, const double* from_b, std::int64_t width, double* a,
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

// `given`: mean and variance are.
template <bool kRelu, typename T>
Kernel make_backward(const KernelRequest& request, double epsilon, bool given) {
  const Extents e(request.inputs[1].shape, cpu_threads(request));
  const bool with_statistics = request.inputs.size() == 8;
  const std::int64_t sums_doubles = 2 * e.width * (e.pieces + 1);
  const std::int64_t scratch_floats = 2 * e.width * (e.pieces + 1);
  auto run = [=](const Launch& launch) {
    const T *dy = launch.input<T>(0), *x = launch.input<T>(1);
    const float *scale = launch.input<float>(2), *variance = launch.input<float>(5);
    const float* dmean = with_statistics ? launch.input<float>(6) : nullptr;
    const float* dvariance = with_statistics ? launch.input<float>(7) : nullptr;
    T* dx = launch.output<T>(0);
    float *dscale = launch.output<float>(1), *doffset = launch.output<float>(2);
    double* sums = static_cast<double*>(launch.workspace);
    float* scratch = reinterpret_cast<float*>(sums + sums_doubles);
    const BackwardColumns columns(scratch + scratch_floats, e.width);
    prepare_columns(e, epsilon, scale, launch.input<float>(3), launch.input<float>(4), variance,
                    columns);

    auto a = [=](std::int64_t piece) { return sums + 2 * e.width * piece; };
    auto b = [=](std::int64_t piece) { return a(piece) + e.width; };
    for_pieces(e, [=](std::int64_t piece, std::int64_t begin, std::int64_t end) {
      const std::int64_t from = begin * e.width;
      backward_sums<kRelu>(dy + from, x + from, end - begin, e.block, e.width, columns, a(piece),
                           b(piece), scratch + 2 * e.width * piece);
    });
    for (std::int64_t piece = 1; piece < e.pieces; ++piece) {
      add_sums(a(piece), b(piece), e.width, a(0), b(0));
    }
    for (std::int64_t k = 1; k < e.side_by_side; ++k) {
      add_sums(a(0) + k * e.channels, b(0) + k * e.channels, e.channels, a(0), b(0));
    }
    const std::int64_t done = e.rows * e.width;
    backward_sums<kRelu>(dy + done, x + done, e.rest, e.block, e.channels, columns, a(e.pieces),
                         b(e.pieces), scratch + 2 * e.width * e.pieces);
    add_sums(a(e.pieces), b(e.pieces), e.channels, a(0), b(0));

    for (std::int64_t c = 0; c < e.channels; ++c) {
      const double r = 1.0 / std::sqrt(double{variance[c]} + epsilon);
      dscale[c] = static_cast<float>(r * b(0)[c]);
      doffset[c] = static_cast<float>(a(0)[c]);
      double factor = -scale[c] * r * r * r * b(0)[c], constant = -scale[c] * r * a(0)[c];
      if (given) {
        launch.output<float>(3)[c] = static_cast<float>(constant);
        launch.output<float>(4)[c] = static_cast<float>(0.5 * factor);
        factor = constant = 0;
      }
      if (dmean != nullptr) {
        factor += 2.0 * dvariance[c];
        constant += dmean[c];
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
  };
  const std::size_t bytes = sums_doubles * sizeof(double) +
                            (scratch_floats + BackwardColumns::kArrays * e.width) * sizeof(float);
  return {given ? "batch_norm_inference_backward_cpu" : "batch_norm_backward_cpu", run, bytes};
}

// ---- Moments -----------------------------------------------------------------------------------

template <typename T>
Kernel make_moments(const KernelRequest& request) {
  const Extents e(request.inputs[0].shape, cpu_threads(request));
  auto run = [=](const Launch& launch) {
    compute_statistics(e, launch.input<T>(0), launch.workspace, launch.output<float>(0), launch.output<float>(1));
  };
  return {"batch_moments_cpu", run, statistics_bytes(e)};
}

// dx = factor (x - mean) + constant
template <typename T>
Kernel make_moments_backward(const KernelRequest& request) {
  const Extents e(request.inputs[0].shape, cpu_threads(request));
  auto run = [=](const Launch& launch) {
    const BackwardColumns columns(static_cast<float*>(launch.workspace), e.width);
    for (std::int64_t c = 0; c < e.channels; ++c) {
      columns.mean[c] = launch.input<float>(1)[c];
      columns.constant[c] = static_cast<float>(launch.input<float>(2)[c] / e.count());
      columns.factor[c] = static_cast<float>(2.0 * launch.input<float>(3)[c] / e.count());
    }
    for (float* values : {columns.mean, columns.constant, columns.factor}) repeat(values, e.channels, e.width);
    const auto rows = [columns](const T* x, std::int64_t count, std::int64_t width, T* dx) {
      for (std::int64_t i = 0; i < count; ++i) {
        const T* from = x + i * width;
        T* to = dx + i * width;
#pragma GCC ivdep
        for (std::int64_t j = 0; j < width; ++j) {
          to[j] = T(std::fma(columns.factor[j], float(from[j]) - columns.mean[j], columns.constant[j]));
        }
      }
    };
    const T* x = launch.input<T>(0);
    T* dx = launch.output<T>(0);
    for_pieces(e, [=](std::int64_t, std::int64_t begin, std::int64_t end) {
      rows(x + begin * e.width, end - begin, e.width, dx + begin * e.width);
    });
    rows(x + e.rows * e.width, e.rest, e.channels, dx + e.rows * e.width);
  };
  return {"batch_moments_backward_cpu", run, BackwardColumns::kArrays * e.width * sizeof(float)};
}

// ---- Registration ------------------------------------------------------------------------------

// A kernel's maker from `make<relu, T>(request, epsilon)`, as the op and the type of its data say.
template <typename Op, typename Make>
KernelEntry entry(const Make& make) {
  return {[make](const KernelRequest& request) {
            const auto& op = request.op_as<Op>();
            return for_floating(request, request.inputs[0].dtype, [&](auto element) {
              using T = decltype(element);
              if (op.relu()) return make.template operator()<true, T>(request, op.epsilon());
              return make.template operator()<false, T>(request, op.epsilon());
            });
          },
          nullptr};
}

}  // namespace

void register_batch_norm_cpu(KernelRegistry& registry) {
  registry.add(
      "batch_norm", DeviceKind::kCpu,
      entry<BatchNormOp>([]<bool kRelu, typename T>(const KernelRequest& request, double epsilon) {
        return make_batch_norm<kRelu, T>(request, epsilon);
      }));
  registry.add("batch_norm_backward", DeviceKind::kCpu,
               entry<BatchNormBackwardOp>(
                   []<bool kRelu, typename T>(const KernelRequest& request, double epsilon) {
                     return make_backward<kRelu, T>(request, epsilon, false);
                   }));
  registry.add("batch_norm_inference_backward", DeviceKind::kCpu,
               entry<BatchNormInferenceBackwardOp>(
                   []<bool kRelu, typename T>(const KernelRequest& request, double epsilon) {
                     return make_backward<kRelu, T>(request, epsilon, true);
                   }));
  registry.add("batch_moments", DeviceKind::kCpu,
               {[](const KernelRequest& request) {
                  return for_floating(request, request.inputs[0].dtype, [&](auto element) {
                    return make_moments<decltype(element)>(request);
                  });
                },
                nullptr});
  registry.add("batch_moments_backward", DeviceKind::kCpu,
               {[](const KernelRequest& request) {
                  return for_floating(request, request.inputs[0].dtype, [&](auto element) {
                    return make_moments_backward<decltype(element)>(request);
                  });
                },
                nullptr});
  registry.add("batch_norm_inference", DeviceKind::kCpu,
               entry<BatchNormInferenceOp>(
                   []<bool kRelu, typename T>(const KernelRequest& request, double epsilon) {
                     return make_inference<kRelu, T>(request, epsilon);
                   }));
}

}  // namespace lockstep
