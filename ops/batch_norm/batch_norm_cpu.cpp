// CPU kernels of batch normalisation.
#include "ops/batch_norm/batch_norm.h"
#include "ops/batch_norm/channels_cpu.h"

namespace lockstep {
namespace {

using namespace channels_cpu;  // NOLINT: its file is written for this one and for batch_norm_residual_cpu.cpp

// ---- Normalisation -----------------------------------------------------------------------------

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

// `given`: mean and variance are.
template <bool kRelu, typename T>
Kernel make_backward(const KernelRequest& request, double epsilon, bool given) {
  const Extents e(request.inputs[1].shape, cpu_threads(request));
  const bool with_statistics = request.inputs.size() == 8;
  auto run = [=](const Launch& launch) {
    GradientData<T> data{.dy = launch.input<T>(0),
                         .x = launch.input<T>(1),
                         .scale = launch.input<float>(2),
                         .offset = launch.input<float>(3),
                         .mean = launch.input<float>(4),
                         .variance = launch.input<float>(5),
                         .dx = launch.output<T>(0),
                         .dscale = launch.output<float>(1),
                         .doffset = launch.output<float>(2)};
    if (with_statistics) {
      data.dmean = launch.input<float>(6);
      data.dvariance = launch.input<float>(7);
    }
    if (given) {
      data.mean_gradient = launch.output<float>(3);
      data.variance_gradient = launch.output<float>(4);
    }
    compute_gradient<kRelu>(e, epsilon, data, launch.workspace, [](std::int64_t, std::int64_t) {});
  };
  return {given ? "batch_norm_inference_backward_cpu" : "batch_norm_backward_cpu", run, gradient_bytes(e)};
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
