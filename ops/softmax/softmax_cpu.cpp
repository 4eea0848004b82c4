// CPU kernels of softmax. Along the last axis a row is reduced with vectors; along another axis the
// elements of the inner axes go side by side through a vector, in blocks that stay in L1.
#include <algorithm>
#include <array>

#include "core/base/lanes.h"
#include "core/base/vector_math.h"
#include "ops/cpu_kernel.h"
#include "ops/softmax/softmax.h"

namespace lockstep {
namespace {

constexpr std::int64_t kSideBySide = 128;  // inner elements worked on at once

// A tensor seen as (outer, n, inner), the softmax going over n.
struct Extents {
  std::int64_t outer, n, inner;

  Extents(const Shape& shape, int axis) {
    const int at = axis < 0 ? axis + shape.rank() : axis;
    outer = shape.elements(0, at);
    n = shape[at];
    inner = shape.elements(at + 1, shape.rank());
  }
};

void softmax_row(const float* x, float* y, std::int64_t n) {
  const float largest = max_lanes(x, n);
#pragma omp simd
  for (std::int64_t j = 0; j < n; ++j) y[j] = vector_math::exp_nonpositive(x[j] - largest);
  const float scale = 1.0f / sum_lanes(y, n);
#pragma omp simd
  for (std::int64_t j = 0; j < n; ++j) y[j] *= scale;
}

void softmax_backward_row(const float* dy, const float* y, float* dx, std::int64_t n) {
  const float sum = dot_lanes(dy, y, n);
#pragma omp simd
  for (std::int64_t j = 0; j < n; ++j) dx[j] = y[j] * (dy[j] - sum);
}

// `width` columns of n elements that are `stride` apart.
void softmax_columns(const float* x, float* y, std::int64_t n, std::int64_t stride,
                     std::int64_t width) {
  std::array<float, kSideBySide> largest, sum;
  std::copy_n(x, width, largest.data());
  for (std::int64_t j = 1; j < n; ++j) {
#pragma omp simd
    for (std::int64_t i = 0; i < width; ++i) {
      const float value = x[j * stride + i];
      largest[i] = largest[i] < value ? value : largest[i];
    }
  }
  sum.fill(0.0f);
  for (std::int64_t j = 0; j < n; ++j) {
#pragma omp simd
    for (std::int64_t i = 0; i < width; ++i) {
      const float value = vector_math::exp_nonpositive(x[j * stride + i] - largest[i]);
      y[j * stride + i] = value;
      sum[i] += value;
    }
  }
  for (std::int64_t i = 0; i < width; ++i) sum[i] = 1.0f / sum[i];
  for (std::int64_t j = 0; j < n; ++j) {
#pragma omp simd
    for (std::int64_t i = 0; i < width; ++i) y[j * stride + i] *= sum[i];
  }
}

void softmax_backward_columns(const float* dy, const float* y, float* dx, std::int64_t n,
                              std::int64_t stride, std::int64_t width) {
  std::array<float, kSideBySide> sum;
  sum.fill(0.0f);
  for (std::int64_t j = 0; j < n; ++j) {
#pragma omp simd
    for (std::int64_t i = 0; i < width; ++i) sum[i] += dy[j * stride + i] * y[j * stride + i];
  }
  for (std::int64_t j = 0; j < n; ++j) {
#pragma omp simd
    for (std::int64_t i = 0; i < width; ++i) {
      dx[j * stride + i] = y[j * stride + i] * (dy[j * stride + i] - sum[i]);
    }
  }
}

// Runs body(offset of the first element, width) for every block of columns. REQUIRES: e.n > 0.
template <typename Body>
void for_column_blocks(const Extents& e, int threads, const Body& body) {
  const std::int64_t blocks = (e.inner + kSideBySide - 1) / kSideBySide;
  const std::int64_t grain = std::max<std::int64_t>(1, kElementGrain / (8 * e.n * kSideBySide));
  parallel_for(threads, e.outer * blocks, grain, [=](std::int64_t begin, std::int64_t end) {
    for (std::int64_t block = begin; block < end; ++block) {
      const std::int64_t first = block % blocks * kSideBySide;
      body(block / blocks * e.n * e.inner + first, std::min(kSideBySide, e.inner - first));
    }
  });
}

// Runs body(offset of the first element) for every row. REQUIRES: e.n > 0.
template <typename Body>
void for_rows(const Extents& e, int threads, const Body& body) {
  const std::int64_t grain = std::max<std::int64_t>(1, kElementGrain / (8 * e.n));
  parallel_for(threads, e.outer, grain, [=](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) body(row * e.n);
  });
}

Kernel softmax_cpu(const KernelRequest& request) {
  const Extents e(request.inputs[0].shape, request.op_as<SoftmaxOp>().axis());
  const int threads = cpu_threads(request);
  if (request.inputs[0].elements() == 0) return {"softmax_cpu (empty)", [](const Launch&) {}};
  if (e.inner == 1) {
    return {"softmax_cpu (rows)", [=](const Launch& launch) {
              const float* x = launch.input<float>(0);
              float* y = launch.output<float>(0);
              for_rows(e, threads, [=](std::int64_t at) { softmax_row(x + at, y + at, e.n); });
            }};
  }
  return {"softmax_cpu (columns)", [=](const Launch& launch) {
            const float* x = launch.input<float>(0);
            float* y = launch.output<float>(0);
            for_column_blocks(e, threads, [=](std::int64_t at, std::int64_t width) {
              softmax_columns(x + at, y + at, e.n, e.inner, width);
            });
          }};
}

Kernel softmax_backward_cpu(const KernelRequest& request) {
  const Extents e(request.inputs[0].shape, request.op_as<SoftmaxBackwardOp>().axis());
  const int threads = cpu_threads(request);
  if (request.inputs[0].elements() == 0) {
    return {"softmax_backward_cpu (empty)", [](const Launch&) {}};
  }
  if (e.inner == 1) {
    return {"softmax_backward_cpu (rows)", [=](const Launch& launch) {
              const float *dy = launch.input<float>(0), *y = launch.input<float>(1);
              float* dx = launch.output<float>(0);
              for_rows(e, threads, [=](std::int64_t at) {
                softmax_backward_row(dy + at, y + at, dx + at, e.n);
              });
            }};
  }
  return {"softmax_backward_cpu (columns)", [=](const Launch& launch) {
            const float *dy = launch.input<float>(0), *y = launch.input<float>(1);
            float* dx = launch.output<float>(0);
            for_column_blocks(e, threads, [=](std::int64_t at, std::int64_t width) {
              softmax_backward_columns(dy + at, y + at, dx + at, e.n, e.inner, width);
            });
          }};
}

}  // namespace

void register_softmax_cpu(KernelRegistry& registry) {
  registry.add("softmax", DeviceKind::kCpu, {softmax_cpu, nullptr});
  registry.add("softmax_backward", DeviceKind::kCpu, {softmax_backward_cpu, nullptr});
}

}  // namespace lockstep
