// CUDA kernels of the poolings. A thread has a pack of neighbouring channels of one pixel: of the pooled image forward, of the
// image backward. There it gathers from the windows that the pixel belongs to, in their order, so nothing is added up by
// two threads.
#include <optional>

#include "core/kernel/cuda_elementwise.h"
#include "ops/activation/activation_cuda.h"
#include "ops/pool2d/pool2d.h"

namespace lockstep {
namespace {

// ---- Geometry ------------------------------------------------------------------------------------

// The rows or columns of one window that lie inside the image: elements [first, last) of the window, which begins at `begin`
// (may be negative).
struct Inside {
  int begin, first, last;
  __device__ int count() const { return last - first; }
};
// The windows that an element of the image may belong to.
struct Windows {
  int first, last;  // inclusive
  int from_begin;   // the element, counted from the begin of window 0
};

struct Axis {
  int extent = 0, outputs = 0, size = 1, stride = 1, dilation = 1, before = 0;
  Divisor of_stride, of_dilation;

  Axis(const Window2d& window, int axis, std::int64_t input, std::int64_t output)
      : extent(static_cast<int>(input)), outputs(static_cast<int>(output)), size(static_cast<int>(window.size[axis])),
        stride(static_cast<int>(window.strides[axis])), dilation(static_cast<int>(window.dilation[axis])),
        before(static_cast<int>(window.padding_before(axis, input))) {
    constexpr std::int64_t kLimit = std::int64_t{1} << 31;
    of_stride = Divisor(stride, kLimit);
    of_dilation = Divisor(dilation, kLimit);
  }
  // Windows that an element belongs to, at most.
  std::int64_t overlap() const { return (std::int64_t{dilation} * (size - 1) + stride) / stride; }

  __device__ int ceiling(int n) const { return static_cast<int>(of_dilation.quotient(n + dilation - 1)); }
  __device__ Inside inside(int output) const {
    const int begin = output * stride - before, last = ceiling(extent - begin);
    return {begin, begin < 0 ? ceiling(-begin) : 0, last < size ? last : size};
  }
  __device__ Windows windows(int element) const {
    const int at = element + before, reach = dilation * (size - 1);
    const int last = static_cast<int>(of_stride.quotient(at));
    const int first = at > reach ? static_cast<int>(of_stride.quotient(at - reach + stride - 1)) : 0;
    return {first, last < outputs - 1 ? last : outputs - 1, at};
  }
  // The element of the window, or -1 where dilation passes over it.
  __device__ int element_of(const Windows& windows, int window) const {
    const int distance = windows.from_begin - window * stride;
    const int element = static_cast<int>(of_dilation.quotient(distance));
    return element * dilation == distance ? element : -1;
  }
};

struct Pooling {
  std::int64_t images, channels;
  Axis rows, columns;

  // From the shapes of the image and of the pooled image.
  Pooling(const Window2d& window, const Shape& x, const Shape& y)
      : images(x[0]), channels(x[3]), rows(window, 0, x[1], y[1]), columns(window, 1, x[2], y[2]) {}
};

// The pixels that threads have, of N channels each.
struct Pixels {
  std::int64_t count;  // of threads
  Divisor packs, width, height;

  Pixels(std::int64_t images, int height_, int width_, std::int64_t packs_) : count(images * height_ * width_ * packs_) {
    const std::int64_t limit = count + kThreads;
    packs = Divisor(packs_, limit);
    width = Divisor(width_, limit);
    height = Divisor(height_, limit);
  }
};

struct Place {
  std::int64_t image, channel, pack;  // pack: the number of the thread
  int row, column;

  template <int N>
  __device__ static Place of(const Pixels& pixels) {
    Place at;
    at.pack = std::int64_t{blockIdx.x} * kThreads + threadIdx.x;
    const std::int64_t pixel = pixels.packs.quotient(at.pack), line = pixels.width.quotient(pixel);
    at.channel = (at.pack - pixel * pixels.packs.divisor) * N;
    at.column = static_cast<int>(pixel - line * pixels.width.divisor);
    at.image = pixels.height.quotient(line);
    at.row = static_cast<int>(line - at.image * pixels.height.divisor);
    return at;
  }
  // Offset of a pixel of an image that has `axes`' extents.
  __device__ std::int64_t input(const Pooling& p, int h, int w) const {
    return ((image * p.rows.extent + h) * p.columns.extent + w) * p.channels + channel;
  }
  __device__ std::int64_t output(const Pooling& p, int oh, int ow) const {
    return ((image * p.rows.outputs + oh) * p.columns.outputs + ow) * p.channels + channel;
  }
};

// ---- Forward -------------------------------------------------------------------------------------

template <typename T, int N>
struct Maximum {
  std::uint8_t* positions;
  T best[N];
  std::uint8_t where[N];
  bool any = false;

  __device__ explicit Maximum(std::uint8_t* positions) : positions(positions) {}
  // A NaN is larger than everything.
  __device__ void add(const Neighbours<T, N>& x, int position) {
#pragma unroll
    for (int k = 0; k < N; ++k) {
      const float value = to_float(x[k]);
      if (any && !(value > to_float(best[k])) && value == value) continue;
      best[k] = x[k];
      where[k] = static_cast<std::uint8_t>(position);
    }
    any = true;
  }
  __device__ void finish(std::int64_t i, const Inside&, const Inside&, T* y) {
    store_elements(y + i, N, true, best);
    store_elements(positions + i, N, true, where);
  }
};

template <typename T, int N>
struct Average {
  float sum[N] = {};

  __device__ explicit Average(std::uint8_t*) {}
  __device__ void add(const Neighbours<T, N>& x, int) {
#pragma unroll
    for (int k = 0; k < N; ++k) sum[k] += to_float(x[k]);
  }
  __device__ void finish(std::int64_t i, const Inside& rows, const Inside& columns, T* y) {
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
  const Place at = Place::of<N>(pixels);
  if (at.pack >= pixels.count) return;
  const Inside rows = p.rows.inside(at.row), columns = p.columns.inside(at.column);
  Result<T, N> result(positions);
  const auto load = [&](int a, int b, Neighbours<T, N>& to) {
    const int h = rows.begin + a * p.rows.dilation, w = columns.begin + b * p.columns.dilation;
    to.load(x + at.input(p, h, w));
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
  result.finish(at.pack * N, rows, columns, y);
}

// ---- Backward ------------------------------------------------------------------------------------

// What each window gives to one of its elements: dy where that is the maximum. Function: of an activation before the pooling.
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
  template <int N>
  __device__ void add(const Pooling& p, const Loaded<N>& loaded, int, int, int a, int b, float (&sum)[N]) const {
    const int number = a * p.columns.size + b;
#pragma unroll
    for (int k = 0; k < N; ++k) {
      float d = to_float(loaded.dy[k]);
      if constexpr (!std::is_same_v<Function, cuda_activation::Identity>) d = function.backward(d, to_float(loaded.y[k]));
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
  template <int N>
  __device__ void add(const Pooling& p, const Loaded<N>& loaded, int oh, int ow, int, int, float (&sum)[N]) const {
    const float share = 1.0f / static_cast<float>(p.rows.inside(oh).count() * p.columns.inside(ow).count());
#pragma unroll
    for (int k = 0; k < N; ++k) sum[k] = fmaf(to_float(loaded.dy[k]), share, sum[k]);
  }
};

// kOverlap > 0: an element belongs to that many windows along each axis at most, which are loaded all at once.
template <typename From, int N, int kOverlap>
__global__ void __launch_bounds__(kThreads)
    unpool(Pooling p, Pixels pixels, From from, typename From::Element* dx) {
  using T = typename From::Element;
  using Loaded = typename From::template Loaded<N>;
  const Place at = Place::of<N>(pixels);
  if (at.pack >= pixels.count) return;
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
      if (a >= 0 && b >= 0) from.template add<N>(p, loaded[i], oh, ow, a, b, sum);
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
        from.template add<N>(p, loaded, oh, ow, a, b, sum);
      }
    }
  }
  T out[N];
#pragma unroll
  for (int k = 0; k < N; ++k) out[k] = from_float<T>(sum[k]);
  store_elements(dx + at.pack * N, N, true, out);
}

// ---- Launches ------------------------------------------------------------------------------------

template <template <typename, int> typename Result, typename T, int N, int kSize>
void launch_pool(const Launch& on, const Pooling& p, std::uint8_t* positions) {
  const Pixels pixels(p.images, p.rows.outputs, p.columns.outputs, p.channels / N);
  launch(on, blocks_for(pixels.count, kThreads), kThreads, pool<Result, T, N, kSize>, p, pixels, on.input<T>(0),
         on.output<T>(0), positions);
}

// `positions`: of the maximum, else null.
template <template <typename, int> typename Result, typename T>
void launch_pool(const Launch& on, const Pooling& p, std::uint8_t* positions) {
  constexpr int N = kPackOf<T>;
  const bool wide = p.channels % N == 0 && is_aligned(on.inputs[0], 16) && is_aligned(on.outputs[0], 16) &&
                    is_aligned(positions, N);
  if (!wide) return launch_pool<Result, T, 1, 0>(on, p, positions);
  if (p.rows.size == 2 && p.columns.size == 2) return launch_pool<Result, T, N, 2>(on, p, positions);
  if (p.rows.size == 3 && p.columns.size == 3) return launch_pool<Result, T, N, 3>(on, p, positions);
  launch_pool<Result, T, N, 0>(on, p, positions);
}

template <int N, int kOverlap, typename From>
void launch_unpool(const Launch& on, const Pooling& p, const From& from) {
  using T = typename From::Element;
  const Pixels pixels(p.images, p.rows.extent, p.columns.extent, p.channels / N);
  launch(on, blocks_for(pixels.count, kThreads), kThreads, unpool<From, N, kOverlap>, p, pixels, from, on.output<T>(0));
}

template <typename From>
void launch_unpool(const Launch& on, const Pooling& p, const From& from) {
  constexpr int N = kPackOf<typename From::Element>;
  const bool wide = p.channels % N == 0 && is_aligned(on.outputs[0], 16) && from.template wide<N>();
  if (!wide) return launch_unpool<1, 0>(on, p, from);
  const std::int64_t overlap = std::max(p.rows.overlap(), p.columns.overlap());
  if (overlap == 1) return launch_unpool<N, 1>(on, p, from);
  if (overlap == 2) return launch_unpool<N, 2>(on, p, from);
  launch_unpool<N, 0>(on, p, from);
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
