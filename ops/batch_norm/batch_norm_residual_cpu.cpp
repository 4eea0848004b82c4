// CPU kernels of batch normalisation at the end of a residual block.
#include "ops/batch_norm/batch_norm_residual.h"
#include "ops/batch_norm/channels_cpu.h"

namespace lockstep {
namespace {

using namespace channels_cpu;  // NOLINT: its file is written for this one and for batch_norm_cpu.cpp

template <bool kRelu, typename T>
void normalise_rows(const T* x, const T* added, std::int64_t rows, std::int64_t width, const Columns& columns, T* y) {
  const float *mean = columns.mean, *slope = columns.slope, *offset = columns.offset;
  for (std::int64_t i = 0; i < rows; ++i) {
    const T *from = x + i * width, *more = added + i * width;
    T* to = y + i * width;
#pragma GCC ivdep
    for (std::int64_t j = 0; j < width; ++j) {
      const float value = std::fma(float(from[j]) - mean[j], slope[j], offset[j]) + float(more[j]);
      to[j] = T(kRelu && value < 0.0f ? 0.0f : value);
    }
  }
}

template <bool kRelu, typename T>
Kernel make_forward(const KernelRequest& request, double epsilon) {
  const Extents e(request.inputs[0].shape, cpu_threads(request));
  auto run = [=](const Launch& launch) {
    const T *x = launch.input<T>(0), *added = launch.input<T>(3);
    T* y = launch.output<T>(0);
    float *mean = launch.output<float>(1), *variance = launch.output<float>(2);
    compute_statistics(e, x, launch.workspace, mean, variance);
    const Columns columns(static_cast<float*>(launch.workspace), e.width);
    prepare_columns(e, epsilon, launch.input<float>(1), launch.input<float>(2), mean, variance, columns);
    for_pieces(e, [=](std::int64_t, std::int64_t begin, std::int64_t end) {
      const std::int64_t from = begin * e.width;
      normalise_rows<kRelu>(x + from, added + from, end - begin, e.width, columns, y + from);
    });
    const std::int64_t done = e.rows * e.width;
    normalise_rows<kRelu>(x + done, added + done, e.rest, e.channels, columns, y + done);
  };
  return {"batch_norm_residual_cpu", run, statistics_bytes(e)};
}

// d, with a second dy or without. `d` may be the memory of dy.
template <bool kSum, typename T>
void mask(const T* dy, const T* second, const T* y, std::int64_t count, T* d) {
#pragma GCC ivdep
  for (std::int64_t i = 0; i < count; ++i) {
    const T sum = kSum ? T(float(dy[i]) + float(second[i])) : dy[i];
    d[i] = float(y[i]) > 0.0f ? sum : T(0.0f);
  }
}

// A block of d is made right before it is summed, while it stays in the cache.
template <bool kSum, typename T>
Kernel make_backward(const KernelRequest& request, double epsilon) {
  const Extents e(request.inputs[2].shape, cpu_threads(request));
  auto run = [=](const Launch& launch) {
    const T *dy = launch.input<T>(0), *y = launch.input<T>(1), *second = kSum ? launch.input<T>(7) : nullptr;
    T* d = launch.output<T>(0);
    const GradientData<T> data{.dy = d,
                               .x = launch.input<T>(2),
                               .scale = launch.input<float>(3),
                               .offset = launch.input<float>(4),
                               .mean = launch.input<float>(5),
                               .variance = launch.input<float>(6),
                               .dx = launch.output<T>(1),
                               .dscale = launch.output<float>(2),
                               .doffset = launch.output<float>(3)};
    compute_gradient<false>(e, epsilon, data, launch.workspace, [=](std::int64_t first, std::int64_t count) {
      mask<kSum>(dy + first, kSum ? second + first : nullptr, y + first, count, d + first);
    });
  };
  return {"batch_norm_residual_backward_cpu", run, gradient_bytes(e)};
}

Kernel forward_cpu(const KernelRequest& request) {
  const auto& op = request.op_as<BatchNormResidualOp>();
  return for_floating(request, request.inputs[0].dtype, [&](auto element) {
    using T = decltype(element);
    return op.relu() ? make_forward<true, T>(request, op.epsilon()) : make_forward<false, T>(request, op.epsilon());
  });
}

Kernel backward_cpu(const KernelRequest& request) {
  const double epsilon = request.op_as<BatchNormResidualBackwardOp>().epsilon();
  return for_floating(request, request.inputs[0].dtype, [&](auto element) {
    using T = decltype(element);
    return request.inputs.size() == 8 ? make_backward<true, T>(request, epsilon) : make_backward<false, T>(request, epsilon);
  });
}

}  // namespace

void register_batch_norm_residual_cpu(KernelRegistry& registry) {
  registry.add("batch_norm_residual", DeviceKind::kCpu, {forward_cpu, nullptr});
  registry.add("batch_norm_residual_backward", DeviceKind::kCpu, {backward_cpu, nullptr});
}

}  // namespace lockstep
