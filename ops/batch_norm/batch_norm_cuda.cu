// CUDA kernels of batch normalisation. x is a row-major matrix (rows, channels). The forward pass reads x twice in all, the
// backward pass x and dy twice, or once where mean and variance are given.
#include "ops/batch_norm/batch_norm.h"
#include "ops/batch_norm/normalise_cuda.h"

namespace lockstep {
namespace {

using namespace channels;  // NOLINT: its files are written for this one and for batch_norm_residual_cuda.cu

// The sums of the gradient. Where mean and variance are given (kGiven), so that they do not depend on x,
//   dx = scale r d    dmean = -scale r A    dvariance = -scale r^3 B / 2
// where dx is written on the way.
template <typename T, bool kRelu, bool kGiven>
struct GradientSums : GradientTotals {
  static constexpr int kRows = 4, kParameters = kRelu ? 3 : kGiven ? 2 : 1;
  template <int N>
  using Loaded = TwoElements<T, N>;

  const T *dy, *x;
  float *dmean = nullptr, *dvariance = nullptr;  // where given
  T* dx = nullptr;

  bool wide() const { return is_aligned(dy, 16) && is_aligned(x, 16) && (!kGiven || is_aligned(dx, 16)); }
  __device__ void prepare(std::int64_t column, float (&p)[kParameters]) const {
    p[0] = affine.mean[column];
    if constexpr (kRelu || kGiven) p[1] = affine.slope(column);
    if constexpr (kRelu) p[2] = affine.offset[column];
  }
  template <int N>
  __device__ void load(std::int64_t at, Loaded<N>& to) const {
    to.dy.load(dy + at);
    to.x.load(x + at);
  }

  template <int N>
  struct Lane : GradientLane<N> {
    __device__ void add(const GradientSums& sums, std::int64_t at, const Loaded<N>& loaded,
                        const float (&p)[kParameters][N]) {
      T dx[N];
#pragma unroll
      for (int n = 0; n < N; ++n) {
        const float distance = to_float(loaded.x[n]) - p[0][n];
        float d = to_float(loaded.dy[n]);
        if constexpr (kRelu) d = masked(d, distance, p[1][n], p[2][n]);
        this->add_element(n, d, distance);
        if constexpr (kGiven) dx[n] = from_float<T>(p[1][n] * d);
      }
      if constexpr (kGiven) store_pack_at(sums.dx, at, true, dx);
    }
  };
  __device__ void finish(std::int64_t column, const double (&sums)[2], const float (&first)[2]) const {
    GradientTotals::finish(column, sums, first);
    if constexpr (kGiven) {
      const float slope = affine.slope(column), inverse = inverse_deviation(affine.variance[column], affine.epsilon);
      dmean[column] = -slope * doffset[column];
      dvariance[column] = -0.5f * slope * inverse * dscale[column];
    }
  }
};

// ---- Passes --------------------------------------------------------------------------------------

template <typename T, bool kRelu>
struct Normalise : Normalised {
  static constexpr int kRows = 8;
  template <int N>
  using Loaded = OneElement<T, N>;

  const T* x;
  T* y;

  bool wide() const { return is_aligned(x, 16) && is_aligned(y, 16); }
  template <int N>
  __device__ void load(std::int64_t at, Loaded<N>& to) const {
    to.x.load(x + at);
  }
  template <int N>
  __device__ void store(std::int64_t at, const Loaded<N>& loaded, const float (&p)[3][N]) const {
    T out[N];
#pragma unroll
    for (int n = 0; n < N; ++n) {
      const float value = Normalised::value(to_float(loaded.x[n]), p, n);
      out[n] = from_float<T>(kRelu && value < 0.0f ? 0.0f : value);
    }
    store_pack_at(y, at, true, out);
  }
};

// dx = (dmean + 2 dvariance (x - mean)) / rows
template <typename T>
struct MomentsGradient {
  static constexpr int kRows = 8, kParameters = 3;
  template <int N>
  using Loaded = OneElement<T, N>;

  const T* x;
  const float *mean, *dmean, *dvariance;
  float inverse_rows;
  T* dx;

  bool wide() const { return is_aligned(x, 16) && is_aligned(dx, 16); }
  __device__ void prepare(std::int64_t column, float (&p)[3]) const {
    p[0] = mean[column];
    p[1] = 2.0f * dvariance[column] * inverse_rows;
    p[2] = dmean[column] * inverse_rows;
  }
  template <int N>
  __device__ void load(std::int64_t at, Loaded<N>& to) const {
    to.x.load(x + at);
  }
  template <int N>
  __device__ void store(std::int64_t at, const Loaded<N>& loaded, const float (&p)[3][N]) const {
    T out[N];
#pragma unroll
    for (int n = 0; n < N; ++n) out[n] = from_float<T>(fmaf(p[1][n], to_float(loaded.x[n]) - p[0][n], p[2][n]));
    store_pack_at(dx, at, true, out);
  }
};

// ---- Launches ------------------------------------------------------------------------------------

template <bool kRelu, typename T>
Kernel make_training(const KernelRequest& request, float epsilon) {
  const Cut cut = cut_of(request.inputs[0]);
  auto run = [=](const Launch& on) {
    const T* x = on.input<T>(0);
    float *mean = on.output<float>(1), *variance = on.output<float>(2);
    const Affine affine{on.input<float>(1), on.input<float>(2), mean, variance, epsilon};
    channels::launch_reduction<T>(on, cut, Moments<T>{x, static_cast<double>(cut.rows), mean, variance},
                                  Normalise<T, kRelu>{{affine}, x, on.output<T>(0)});
  };
  return {"batch_norm_cuda", run, cut.workspace_bytes()};
}

template <bool kRelu, typename T>
Kernel make_inference(const KernelRequest& request, float epsilon) {
  const Cut cut = cut_of(request.inputs[0]);
  return {"batch_norm_inference_cuda", [=](const Launch& on) {
            const Affine affine{on.input<float>(1), on.input<float>(2), on.input<float>(3), on.input<float>(4), epsilon};
            channels::launch_pass<T>(on, cut, Normalise<T, kRelu>{{affine}, on.input<T>(0), on.output<T>(0)});
          }};
}

template <bool kRelu, typename T>
Kernel make_backward(const KernelRequest& request, float epsilon) {
  const Cut cut = cut_of(request.inputs[1]);
  const bool with_statistics = request.inputs.size() == 8;
  auto run = [=](const Launch& on) {
    const T *dy = on.input<T>(0), *x = on.input<T>(1);
    const Affine affine{on.input<float>(2), on.input<float>(3), on.input<float>(4), on.input<float>(5), epsilon};
    float *dscale = on.output<float>(1), *doffset = on.output<float>(2);
    const float* dmean = with_statistics ? on.input<float>(6) : nullptr;
    const float* dvariance = with_statistics ? on.input<float>(7) : nullptr;
    channels::launch_reduction<T>(
        on, cut, GradientSums<T, kRelu, false>{{affine, dscale, doffset}, dy, x},
        Gradient<T, kRelu>{dy, x, affine, dscale, doffset, dmean, dvariance, inverse_of(cut.rows), on.output<T>(0)});
  };
  return {"batch_norm_backward_cuda", run, cut.workspace_bytes()};
}

template <bool kRelu, typename T>
Kernel make_inference_backward(const KernelRequest& request, float epsilon) {
  const Cut cut = cut_of(request.inputs[1]);
  auto run = [=](const Launch& on) {
    const Affine affine{on.input<float>(2), on.input<float>(3), on.input<float>(4), on.input<float>(5), epsilon};
    channels::launch_reduction<T>(
        on, cut,
        GradientSums<T, kRelu, true>{{affine, on.output<float>(1), on.output<float>(2)}, on.input<T>(0), on.input<T>(1),
                                     on.output<float>(3), on.output<float>(4), on.output<T>(0)});
  };
  return {"batch_norm_inference_backward_cuda", run, cut.workspace_bytes()};
}

Kernel batch_moments_cuda(const KernelRequest& request) {
  const Cut cut = cut_of(request.inputs[0]);
  return for_cuda_floating(request, request.inputs[0].dtype, [&]<typename T>(T) -> Kernel {
    return {"batch_moments_cuda",
            [=](const Launch& on) {
              channels::launch_reduction<T>(on, cut,
                                            Moments<T>{on.input<T>(0), static_cast<double>(cut.rows),
                                                       on.output<float>(0), on.output<float>(1)});
            },
            cut.workspace_bytes()};
  });
}

Kernel batch_moments_backward_cuda(const KernelRequest& request) {
  const Cut cut = cut_of(request.inputs[0]);
  return for_cuda_floating(request, request.inputs[0].dtype, [&]<typename T>(T) -> Kernel {
    return {"batch_moments_backward_cuda", [=](const Launch& on) {
              channels::launch_pass<T>(on, cut,
                                       MomentsGradient<T>{on.input<T>(0), on.input<float>(1), on.input<float>(2),
                                                          on.input<float>(3), inverse_of(cut.rows), on.output<T>(0)});
            }};
  });
}

// ---- Registration --------------------------------------------------------------------------------

// A kernel's maker from make(relu, element, request, epsilon), as the op and the type of its data say.
template <typename Op, typename Make>
KernelEntry entry(const Make& make) {
  return {[make](const KernelRequest& request) {
            const auto& op = request.op_as<Op>();
            const auto epsilon = static_cast<float>(op.epsilon());
            return for_cuda_floating(request, request.inputs[0].dtype, [&](auto element) {
              return op.relu() ? make(std::true_type{}, element, request, epsilon)
                               : make(std::false_type{}, element, request, epsilon);
            });
          },
          nullptr};
}

}  // namespace

void register_batch_norm_cuda(KernelRegistry& registry) {
  registry.add("batch_norm", DeviceKind::kCuda,
               entry<BatchNormOp>([](auto relu, auto element, const KernelRequest& request, float epsilon) {
                 return make_training<relu(), decltype(element)>(request, epsilon);
               }));
  registry.add("batch_norm_backward", DeviceKind::kCuda,
               entry<BatchNormBackwardOp>([](auto relu, auto element, const KernelRequest& request, float epsilon) {
                 return make_backward<relu(), decltype(element)>(request, epsilon);
               }));
  registry.add("batch_norm_inference", DeviceKind::kCuda,
               entry<BatchNormInferenceOp>([](auto relu, auto element, const KernelRequest& request, float epsilon) {
                 return make_inference<relu(), decltype(element)>(request, epsilon);
               }));
  registry.add("batch_norm_inference_backward", DeviceKind::kCuda,
               entry<BatchNormInferenceBackwardOp>([](auto relu, auto element, const KernelRequest& request, float epsilon) {
                 return make_inference_backward<relu(), decltype(element)>(request, epsilon);
               }));
  registry.add("batch_moments", DeviceKind::kCuda, {batch_moments_cuda, nullptr});
  registry.add("batch_moments_backward", DeviceKind::kCuda, {batch_moments_backward_cuda, nullptr});
}

}  // namespace lockstep
