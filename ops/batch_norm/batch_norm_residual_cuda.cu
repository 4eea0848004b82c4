// CUDA kernels of batch normalisation at the end of a residual block.
#include "ops/batch_norm/batch_norm_residual.h"
#include "ops/batch_norm/normalise_cuda.h"

namespace lockstep {
namespace {

using namespace channels;  // NOLINT: its files are written for this one and for batch_norm_cuda.cu

// ---- batch_norm_residual -------------------------------------------------------------------------

template <typename T, int N>
struct Addends {
  Neighbours<T, N> x, added;
};

template <typename T, bool kRelu>
struct NormaliseAndAdd : Normalised {
  static constexpr int kRows = 4;
  template <int N>
  using Loaded = Addends<T, N>;

  const T *x, *added;
  T* y;

  bool wide() const { return is_aligned(x, 16) && is_aligned(added, 16) && is_aligned(y, 16); }
  template <int N>
  __device__ void load(std::int64_t at, Loaded<N>& to) const {
    to.x.load(x + at);
    to.added.load(added + at);
  }
  template <int N>
  __device__ void store(std::int64_t at, const Loaded<N>& loaded, const float (&p)[3][N]) const {
    T out[N];
#pragma unroll
    for (int n = 0; n < N; ++n) {
      const float value = Normalised::value(to_float(loaded.x[n]), p, n) + to_float(loaded.added[n]);
      out[n] = from_float<T>(kRelu && value < 0.0f ? 0.0f : value);
    }
    store_pack_at(y, at, true, out);
  }
};

template <bool kRelu, typename T>
Kernel make_forward(const KernelRequest& request, float epsilon) {
  const Cut cut = cut_of(request.inputs[0]);
  auto run = [=](const Launch& on) {
    const T* x = on.input<T>(0);
    float *mean = on.output<float>(1), *variance = on.output<float>(2);
    const Affine affine{on.input<float>(1), on.input<float>(2), mean, variance, epsilon};
    launch_reduction<T>(on, cut, Moments<T>{x, static_cast<double>(cut.rows), mean, variance},
                        NormaliseAndAdd<T, kRelu>{{affine}, x, on.input<T>(3), on.output<T>(0)});
  };
  return {"batch_norm_residual_cuda", run, cut.workspace_bytes()};
}

Kernel forward_cuda(const KernelRequest& request) {
  const auto& op = request.op_as<BatchNormResidualOp>();
  const auto epsilon = static_cast<float>(op.epsilon());
  return for_cuda_floating(request, request.inputs[0].dtype, [&]<typename T>(T) {
    return op.relu() ? make_forward<true, T>(request, epsilon) : make_forward<false, T>(request, epsilon);
  });
}

// ---- batch_norm_residual_backward ----------------------------------------------------------------

template <typename T, int N, bool kSum>
struct MaskedElements {
  Neighbours<T, N> dy, y, x;
  Neighbours<T, kSum ? N : 1> second;
};

// Writes d on the way; it may be the memory of dy.
template <typename T, bool kSum>
struct MaskedSums : GradientTotals {
  static constexpr int kRows = 4, kParameters = 1;
  template <int N>
  using Loaded = MaskedElements<T, N, kSum>;

  const T *dy, *second, *y, *x;
  T* d;

  bool wide() const {
    return is_aligned(dy, 16) && is_aligned(second, 16) && is_aligned(y, 16) && is_aligned(x, 16) && is_aligned(d, 16);
  }
  __device__ void prepare(std::int64_t column, float (&p)[1]) const { p[0] = affine.mean[column]; }
  template <int N>
  __device__ void load(std::int64_t at, Loaded<N>& to) const {
    to.dy.load(dy + at);
    to.y.load(y + at);
    to.x.load(x + at);
    if constexpr (kSum) to.second.load(second + at);
  }

  template <int N>
  struct Lane : GradientLane<N> {
    __device__ void add(const MaskedSums& sums, std::int64_t at, const Loaded<N>& loaded, const float (&p)[1][N]) {
      T out[N];
#pragma unroll
      for (int n = 0; n < N; ++n) {
        T sum = loaded.dy[n];
        if constexpr (kSum) sum = from_float<T>(to_float(sum) + to_float(loaded.second[n]));
        const float masked = to_float(loaded.y[n]) > 0.0f ? to_float(sum) : 0.0f;
        out[n] = from_float<T>(masked);
        this->add_element(n, masked, to_float(loaded.x[n]) - p[0][n]);
      }
      store_pack_at(sums.d, at, true, out);
    }
  };
};

template <bool kSum, typename T>
Kernel make_backward(const KernelRequest& request, float epsilon) {
  const Cut cut = cut_of(request.inputs[2]);
  auto run = [=](const Launch& on) {
    const T *dy = on.input<T>(0), *y = on.input<T>(1), *x = on.input<T>(2), *second = kSum ? on.input<T>(7) : nullptr;
    const Affine affine{on.input<float>(3), on.input<float>(4), on.input<float>(5), on.input<float>(6), epsilon};
    T* d = on.output<T>(0);
    float *dscale = on.output<float>(2), *doffset = on.output<float>(3);
    launch_reduction<T>(
        on, cut, MaskedSums<T, kSum>{{affine, dscale, doffset}, dy, second, y, x, d},
        Gradient<T, false>{d, x, affine, dscale, doffset, nullptr, nullptr, inverse_of(cut.rows), on.output<T>(1)});
  };
  return {"batch_norm_residual_backward_cuda", run, cut.workspace_bytes()};
}

Kernel backward_cuda(const KernelRequest& request) {
  const auto epsilon = static_cast<float>(request.op_as<BatchNormResidualBackwardOp>().epsilon());
  return for_cuda_floating(request, request.inputs[0].dtype, [&]<typename T>(T) {
    return request.inputs.size() == 8 ? make_backward<true, T>(request, epsilon) : make_backward<false, T>(request, epsilon);
  });
}

}  // namespace

void register_batch_norm_residual_cuda(KernelRegistry& registry) {
  registry.add("batch_norm_residual", DeviceKind::kCuda, {forward_cuda, nullptr});
  registry.add("batch_norm_residual_backward", DeviceKind::kCuda, {backward_cuda, nullptr});
}

}  // namespace lockstep
