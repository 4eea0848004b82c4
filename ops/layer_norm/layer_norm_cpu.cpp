// CPU kernels of layer normalisation, a row at a time: the row is read from memory once and stays
// in the first cache for its mean, the squares of the distances from it, and the result.
//
// Gradients of scale and offset are sums over the rows: f32 within a block of rows, f64 over the
// blocks, then over the threads. The order depends on the extents and the number of threads only.
#include <algorithm>
#include <cmath>

#include "core/base/lanes.h"
#include "ops/cpu_kernel.h"
#include "ops/layer_norm/layer_norm.h"

namespace lockstep {
namespace {

constexpr std::int64_t kBlockRows = 64;  // whose gradients of scale and offset are added in f32

struct RowStatistics {
  float mean, inverse;  // inverse: 1 / sqrt(variance + epsilon)
};

template <typename T>
RowStatistics statistics_of(const T* x, std::int64_t n, double epsilon) {
  const float mean = sum_lanes(x, n) / static_cast<float>(n);
  const float squares = reduce_lanes<AddLanes>(
      0, n,
      [=](std::int64_t i, Float8& v) {
        load(v, x + i);
        v -= mean;
        v *= v;
      },
      [=](std::int64_t i) { return (float(x[i]) - mean) * (float(x[i]) - mean); });
  const double variance = squares / static_cast<double>(n);
  return {mean, static_cast<float>(1.0 / std::sqrt(variance + epsilon))};
}

template <typename T>
Kernel make_forward(const KernelRequest& request, double epsilon) {
  const std::int64_t n = request.inputs[1].elements(), rows = request.inputs[0].elements() / n;
  const std::int64_t grain = std::max<std::int64_t>(1, kElementGrain / n);
  const int threads = cpu_threads(request);
  auto run = [=](const Launch& launch) {
    const T* x = launch.input<T>(0);
    const float *scale = launch.input<float>(1), *offset = launch.input<float>(2);
    T* y = launch.output<T>(0);
    parallel_for(threads, rows, grain, [=](std::int64_t begin, std::int64_t end) {
      for (std::int64_t row = begin; row < end; ++row) {
        const T* from = x + row * n;
        T* to = y + row * n;
        const auto [mean, inverse] = statistics_of(from, n, epsilon);
#pragma GCC ivdep  // not "omp simd": g++ 12 would not vectorise stores of BFloat16
        for (std::int64_t j = 0; j < n; ++j) {
          to[j] = T(std::fma((float(from[j]) - mean) * inverse, scale[j], offset[j]));
        }
      }
    });
  };
  return {"layer_norm_cpu", run};
}

// One row of dx, with g = dy * scale and h = (x - mean) * inverse:
//   dx = inverse * (g - mean of g - h * mean of (g * h))
template <typename T>
void backward_row(const T* dy, const T* x, const float* scale, std::int64_t n, double epsilon,
                  T* dx, float* dscale, float* doffset) {
  const auto [mean, inverse] = statistics_of(x, n, epsilon);
  const auto count = static_cast<float>(n);
  const float mean_g = dot_lanes(dy, scale, n) / count;
  const float mean_gh = reduce_lanes<AddLanes>(
                            0, n,
                            [=, mean = mean](std::int64_t i, Float8& v) {
                              Float8 d, s;
                              load(v, x + i);
                              load(d, dy + i);
                              load(s, scale + i);
                              v = (v - mean) * (d * s);
                            },
                            [=, mean = mean](std::int64_t i) {
                              return (float(x[i]) - mean) * (float(dy[i]) * scale[i]);
                            }) *
                        inverse / count;
#pragma GCC ivdep
  for (std::int64_t j = 0; j < n; ++j) {
    const float d = float(dy[j]), h = (float(x[j]) - mean) * inverse;
    dx[j] = T(inverse * (std::fma(d, scale[j], -mean_g) - h * mean_gh));
  }
#pragma omp simd
  for (std::int64_t j = 0; j < n; ++j) {
    const float d = float(dy[j]), h = (float(x[j]) - mean) * inverse;
    dscale[j] = std::fma(d, h, dscale[j]);
    doffset[j] += d;
  }
}

template <typename T>
Kernel make_backward(const KernelRequest& request, double epsilon) {
  const std::int64_t n = request.inputs[2].elements(), rows = request.inputs[1].elements() / n;
  const std::int64_t worth = std::max<std::int64_t>(1, rows * n / kElementGrain);
  const auto pieces = static_cast<int>(std::min<std::int64_t>(cpu_threads(request), worth));
  auto run = [=](const Launch& launch) {
    const T *dy = launch.input<T>(0), *x = launch.input<T>(1);
    const float* scale = launch.input<float>(2);
    T* dx = launch.output<T>(0);
    double* sums = static_cast<double*>(launch.workspace);            // (pieces, 2, n)
    float* blocks = reinterpret_cast<float*>(sums + 2 * n * pieces);  // (pieces, 2, n)
    parallel_for(pieces, pieces, 1, [=](std::int64_t first, std::int64_t last) {
      for (std::int64_t piece = first; piece < last; ++piece) {
        double* sum = sums + 2 * n * piece;
        float* block = blocks + 2 * n * piece;
        std::fill(sum, sum + 2 * n, 0.0);
        const std::int64_t end = rows * (piece + 1) / pieces;
        for (std::int64_t begin = rows * piece / pieces; begin < end; begin += kBlockRows) {
          std::fill(block, block + 2 * n, 0.0f);
          for (std::int64_t row = begin; row < std::min(end, begin + kBlockRows); ++row) {
            backward_row(dy + row * n, x + row * n, scale, n, epsilon, dx + row * n, block,
                         block + n);
          }
          for (std::int64_t j = 0; j < 2 * n; ++j) sum[j] += block[j];
        }
      }
    });
    for (int piece = 1; piece < pieces; ++piece) {
      for (std::int64_t j = 0; j < 2 * n; ++j) sums[j] += sums[2 * n * piece + j];
    }
    float *dscale = launch.output<float>(1), *doffset = launch.output<float>(2);
    for (std::int64_t j = 0; j < n; ++j) {
      dscale[j] = static_cast<float>(sums[j]);
      doffset[j] = static_cast<float>(sums[n + j]);
    }
  };
  return {"layer_norm_backward_cpu", run,
          static_cast<std::size_t>(2 * n * pieces) * (sizeof(double) + sizeof(float))};
}

}  // namespace

void register_layer_norm_cpu(KernelRegistry& registry) {
  registry.add("layer_norm", DeviceKind::kCpu,
               {[](const KernelRequest& request) {
                  const double epsilon = request.op_as<LayerNormOp>().epsilon();
                  return for_floating(request, request.inputs[0].dtype, [&](auto element) {
                    return make_forward<decltype(element)>(request, epsilon);
                  });
                },
                nullptr});
  registry.add("layer_norm_backward", DeviceKind::kCpu,
               {[](const KernelRequest& request) {
                  const double epsilon = request.op_as<LayerNormBackwardOp>().epsilon();
                  return for_floating(request, request.inputs[0].dtype, [&](auto element) {
                    return make_backward<decltype(element)>(request, epsilon);
                  });
                },
                nullptr});
}

}  // namespace lockstep
