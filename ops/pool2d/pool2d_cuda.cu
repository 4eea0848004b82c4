// CUDA kernels of the poolings. Forward a thread has a pack of neighbouring channels of one pixel of the pooled image; for
// the gradients see unpool_cuda.h.
#include <optional>

#include "ops/activation/activation_cuda.h"
#include "ops/pool2d/pool2d.h"
#include "ops/pool2d/pooling_cuda.h"
#include "ops/pool2d/unpool_cuda.h"

namespace lockstep {
namespace {

using namespace cuda_pooling;

// ---- Forward -------------------------------------------------------------------------------------

// The first maximum of a window, and its position: at first -infinity, at the first element inside the image. A NaN is larger
// than everything, a later one than an earlier one.
template <typename T, int N>
struct Maximum {
  T best[N];
  std::uint8_t where[N];

  __device__ explicit Maximum(int first) {
#pragma unroll
    for (int k = 0; k < N; ++k) best[k] = from_float<T>(-INFINITY), where[k] = static_cast<std::uint8_t>(first);
  }
  __device__ void add(const Neighbours<T, N>& x, int position) {
#pragma unroll
    for (int k = 0; k < N; ++k) {
      const float value = x.number(k);
      if (!(value > to_float(best[k])) && value == value) continue;
      best[k] = x[k];
      where[k] = static_cast<std::uint8_t>(position);
    }
  }
  __device__ void finish(std::int64_t i, const Inside&, const Inside&, T* y, std::uint8_t* positions) const {
    store_elements(y + i, N, true, best);
    store_elements(positions + i, N, true, where);
  }
};

// bf16 are compared two by two as they lie in their words; positions are halves of words too. One by one, the comparisons of
// a 3 x 3 window take longer than its bytes are on their way.
template <int N>
  requires(N % 2 == 0)
struct Maximum<BFloat16, N> {
  static constexpr std::uint32_t kBoth = 0x00010001u;
  std::uint32_t best[N / 2], where[N / 2];

  __device__ explicit Maximum(int first) {
#pragma unroll
    for (int k = 0; k < N / 2; ++k) best[k] = 0xff80u * kBoth, where[k] = static_cast<std::uint32_t>(first) * kBoth;
  }
  __device__ void add(const Neighbours<BFloat16, N>& x, int position) {
#pragma unroll
    for (int k = 0; k < N / 2; ++k) {
      const __nv_bfloat162 value = as_pair(x.word[k]);
      // All bits of a half are set where it is better.
      const std::uint32_t better = __hgt2_mask(value, as_pair(best[k])) | __hneu2_mask(value, value);
      best[k] = (better & x.word[k]) | (~better & best[k]);
      where[k] = (better & static_cast<std::uint32_t>(position) * kBoth) | (~better & where[k]);
    }
  }
  __device__ void finish(std::int64_t i, const Inside&, const Inside&, BFloat16* y, std::uint8_t* positions) const {
    store_pack(reinterpret_cast<std::uint32_t*>(y + i), best);
    std::uint8_t bytes[N];
#pragma unroll
    for (int k = 0; k < N; ++k) bytes[k] = static_cast<std::uint8_t>(where[k / 2] >> 16 * (k % 2));
    store_pack(positions + i, bytes);
  }
};

template <typename T, int N>
struct Average {
  float sum[N] = {};

  __device__ explicit Average(int) {}
  __device__ void add(const Neighbours<T, N>& x, int) {
#pragma unroll
    for (int k = 0; k < N; ++k) sum[k] += x.number(k);
  }
  __device__ void finish(std::int64_t i, const Inside& rows, const Inside& columns, T* y, std::uint8_t*) const {
    const auto count = static_cast<float>(rows.count() * columns.count());
    T mean[N];
#pragma unroll
    for (int k = 0; k < N; ++k) mean[k] = from_float<T>(sum[k] / count);
    store_elements(y + i, N, true, mean);
  }
};

// kSize > 0: a square window of that size, whose elements are loaded all at once.
template <template <typename, int> typename Result, typename T, int N, int kSize>
__global__ void __launch_bounds__(kThreads)
    pool(Pooling p, Pixels pixels, const T* x, T* y, std::uint8_t* positions) {
  using Number = std::conditional_t<(kSize > 0), std::int32_t, std::int64_t>;
  const Place<N, Number> at(pixels);
  if (at.thread >= pixels.count) return;
  const Inside rows = p.rows.inside(at.row), columns = p.columns.inside(at.column);
  Result<T, N> result(rows.first * p.columns.size + columns.first);
  const auto load = [&](int a, int b, Neighbours<T, N>& to) {
    to.load(x + at.input(p, rows.begin + a * p.rows.dilation, columns.begin + b * p.columns.dilation));
  };
  if constexpr (kSize > 0) {
    Neighbours<T, N> v[kSize * kSize];
    const auto is_inside = [&](int a, int b) {
      return a >= rows.first && a < rows.last && b >= columns.first && b < columns.last;
    };
#pragma unroll
    for (int i = 0; i < kSize * kSize; ++i) {
      if (is_inside(i / kSize, i % kSize)) load(i / kSize, i % kSize, v[i]);
    }
#pragma unroll
    for (int i = 0; i < kSize * kSize; ++i) {
      if (is_inside(i / kSize, i % kSize)) result.add(v[i], i);
    }
  } else {
    for (int a = rows.first; a < rows.last; ++a) {
#pragma unroll 4
      for (int b = columns.first; b < columns.last; ++b) {
        Neighbours<T, N> v;
        load(a, b, v);
        result.add(v, a * p.columns.size + b);
      }
    }
  }
  result.finish(std::int64_t{at.thread} * N, rows, columns, y, positions);
}

// Windows of 3 x 3 with strides of 2: a thread has two windows, one above the other, whose five rows it reads once. The windows
// below are another multiprocessor's, so a row that they share is read from the second cache twice: in pool() that is each
// second row, here each fourth.
template <template <typename, int> typename Result, typename T, int N>
__global__ void __launch_bounds__(kThreads)
    pool_pairs(Pooling p, Pixels pairs, const T* x, T* y, std::uint8_t* positions) {
  constexpr int kSize = 3, kRows = kSize + 2;
  const Place<N, std::int32_t> at(pairs);
  if (at.thread >= pairs.count) return;
  const int top = 4 * at.row - p.rows.before, left = 2 * at.column - p.columns.before;
  const auto is_inside = [&](int a, int b) { return p.rows.has(top + a) && p.columns.has(left + b); };
  Neighbours<T, N> v[kRows][kSize];
#pragma unroll
  for (int a = 0; a < kRows; ++a) {
#pragma unroll
    for (int b = 0; b < kSize; ++b) {
      if (is_inside(a, b)) v[a][b].load(x + at.input(p, top + a, left + b));
    }
  }
  const Inside columns = p.columns.inside(at.column);
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const int row = 2 * at.row + i;
    if (row >= p.rows.outputs) return;
    const Inside rows = p.rows.inside(row);
    Result<T, N> result(rows.first * kSize + columns.first);
#pragma unroll
    for (int a = 0; a < kSize; ++a) {
#pragma unroll
      for (int b = 0; b < kSize; ++b) {
        if (is_inside(2 * i + a, b)) result.add(v[2 * i + a][b], a * kSize + b);
      }
    }
    result.finish(at.output(p, row, at.column), rows, columns, y, positions);
  }
}

// ---- Launches ------------------------------------------------------------------------------------

template <template <typename, int> typename Result, typename T, int N, int kSize>
void launch_pool(const Launch& on, const Pooling& p, std::uint8_t* positions) {
  const Pixels pixels(p.images, p.rows.outputs, p.columns.outputs, p.channels / N);
  launch(on, blocks_for(pixels.count, kThreads), kThreads, pool<Result, T, N, kSize>, p, pixels, on.input<T>(0),
         on.output<T>(0), positions);
}

template <template <typename, int> typename Result, typename T, int N>
void launch_pool_pairs(const Launch& on, const Pooling& p, std::uint8_t* positions) {
  const Pixels pairs(p.images, (p.rows.outputs + 1) / 2, p.columns.outputs, p.channels / N);
  launch(on, blocks_for(pairs.count, kThreads), kThreads, pool_pairs<Result, T, N>, p, pairs, on.input<T>(0),
         on.output<T>(0), positions);
}

// `positions`: of the maximum, else null.
template <template <typename, int> typename Result, typename T>
void launch_pool(const Launch& on, const Pooling& p, std::uint8_t* positions) {
  constexpr int N = kPackOf<T>;
  const bool wide = p.channels % N == 0 && is_aligned(on.inputs[0], 16) && is_aligned(on.outputs[0], 16) &&
                    is_aligned(positions, N);
  if (!wide) return launch_pool<Result, T, 1, 0>(on, p, positions);
  if (p.is_small(N)) {
    if (p.rows.size == 2 && p.columns.size == 2) return launch_pool<Result, T, N, 2>(on, p, positions);
    if (p.rows.is_halving(3) && p.columns.is_halving(3)) return launch_pool_pairs<Result, T, N>(on, p, positions);
    if (p.rows.size == 3 && p.columns.size == 3) return launch_pool<Result, T, N, 3>(on, p, positions);
  }
  launch_pool<Result, T, N, 0>(on, p, positions);
}

Kernel max_pool2d_cuda(const KernelRequest& r) {
  const Pooling p(r.op_as<MaxPool2dOp>().window(), r.inputs[0].shape, r.outputs[0].shape);
  return for_cuda_floating(r, r.inputs[0].dtype, [&]<typename T>(T) -> Kernel {
    return {"max_pool2d_cuda", [=](const Launch& on) { launch_pool<Maximum, T>(on, p, on.output<std::uint8_t>(1)); }};
  });
}

Kernel average_pool2d_cuda(const KernelRequest& r) {
  const Pooling p(r.op_as<AveragePool2dOp>().window(), r.inputs[0].shape, r.outputs[0].shape);
  return for_cuda_floating(r, r.inputs[0].dtype, [&]<typename T>(T) -> Kernel {
    return {"average_pool2d_cuda", [=](const Launch& on) { launch_pool<Average, T>(on, p, nullptr); }};
  });
}

// Calls body(function); the gelus, whose gradients are no functions of the result, are none of them.
template <typename Body>
Kernel with_fused_function(const std::optional<Activation>& activation, const Body& body) {
  if (!activation) return body(cuda_activation::Identity{});
  return cuda_activation::with_function(*activation, [&](auto function) -> Kernel {
    using Function = decltype(function);
    if constexpr (std::is_same_v<Function, cuda_activation::Gelu> ||
                  std::is_same_v<Function, cuda_activation::GeluApproximate>) {
      broken_invariant("max_pool2d_backward with the gradient of a gelu");
    } else {
      return body(function);
    }
  });
}

Kernel max_pool2d_backward_cuda(const KernelRequest& r) {
  const auto& op = r.op_as<MaxPool2dBackwardOp>();
  const Pooling p(op.window(), r.outputs[0].shape, r.inputs[0].shape);
  const bool with_y = op.activation().has_value();
  return for_cuda_floating(r, r.inputs[0].dtype, [&]<typename T>(T) {
    return with_fused_function(op.activation(), [&]<typename Function>(const Function& function) -> Kernel {
      return {"max_pool2d_backward_cuda", [=](const Launch& on) {
                const T* y = with_y ? on.input<T>(2) : nullptr;
                launch_unpool(on, p,
                              FromMaximum<T, Function>{on.input<T>(0), on.input<std::uint8_t>(1), y, function});
              }};
    });
  });
}

Kernel average_pool2d_backward_cuda(const KernelRequest& r) {
  const Pooling p(r.op_as<AveragePool2dBackwardOp>().window(), r.outputs[0].shape, r.inputs[0].shape);
  return for_cuda_floating(r, r.inputs[0].dtype, [&]<typename T>(T) -> Kernel {
    return {"average_pool2d_backward_cuda",
            [=](const Launch& on) { launch_unpool(on, p, FromAverage<T>{on.input<T>(0)}); }};
  });
}

}  // namespace

void register_pool2d_cuda(KernelRegistry& registry) {
  registry.add("max_pool2d", DeviceKind::kCuda, {max_pool2d_cuda, nullptr});
  registry.add("max_pool2d_backward", DeviceKind::kCuda, {max_pool2d_backward_cuda, nullptr});
  registry.add("average_pool2d", DeviceKind::kCuda, {average_pool2d_cuda, nullptr});
  registry.add("average_pool2d_backward", DeviceKind::kCuda, {average_pool2d_backward_cuda, nullptr});
}

}  // namespace lockstep
