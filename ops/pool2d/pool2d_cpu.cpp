// CPU kernels of the poolings. Channels lie next to each other, all of them (NHWC) or in oneDNN's
// blocks of 8 or 16; a kernel takes whichever its input has, so the layout pass inserts nothing for
// it. Everything is done for kLanes channels at a time, which stay in registers: written with GCC's
// vectors, because the loops over windows keep it from finding them.
#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>

#include "core/kernel/onednn_kernel.h"
#include "ops/activation/activation_math.h"
#include "ops/cpu_kernel.h"
#include "ops/pool2d/pool2d.h"

namespace lockstep {
namespace {

constexpr std::int64_t kLanes = 8;  // one AVX register of f32

// kLanes floats or integers.
using Floats = float __attribute__((vector_size(kLanes * 4)));
using Integers = std::int32_t __attribute__((vector_size(kLanes * 4)));

// The first `count` lanes; the others are 0.
template <typename T>
[[gnu::always_inline]] inline Floats load(const T* from, std::int64_t count) {
  T padded[kLanes];
  if (count < kLanes) {
    std::fill_n(padded, kLanes, T(0.0f));
    std::copy_n(from, count, padded);
    from = padded;
  }
  if constexpr (std::is_same_v<T, float>) {
    Floats out;
    std::memcpy(&out, from, sizeof out);
    return out;
  } else {
    std::uint16_t __attribute__((vector_size(kLanes * 2))) bits;
    std::memcpy(&bits, from, sizeof bits);
    return std::bit_cast<Floats>(__builtin_convertvector(bits, Integers) << 16);
  }
}

template <typename T>
[[gnu::always_inline]] inline void store(T* to, const Floats& values, std::int64_t count) {
  if constexpr (std::is_same_v<T, float>) {
    std::memcpy(to, &values, sizeof(float) * count);
  } else {
    T rounded[kLanes];
#pragma omp simd
    for (std::int64_t l = 0; l < kLanes; ++l) rounded[l] = values[l];
    std::copy_n(rounded, count, to);
  }
}

// Images of `channels` neighbouring channels; their number counts blocks as images of their own.
struct Pooling {
  std::int64_t images = 0, height = 0, width = 0, out_height = 0, out_width = 0, channels = 0;
  Window2d window;
  std::array<std::int64_t, 2> before = {0, 0};
  int threads = 1;

  std::int64_t input_elements() const { return height * width * channels; }
  std::int64_t output_elements() const { return out_height * out_width * channels; }
  // Input elements from the first to the last of one window.
  std::int64_t reach(int axis) const { return window.dilation[axis] * (window.size[axis] - 1) + 1; }
  // An input element may belong to several windows.
  bool overlapping() const { return window.strides[0] < reach(0) || window.strides[1] < reach(1); }
  // Every input element belongs to exactly one window.
  bool tiling() const {
    auto tiles = [&](int axis, std::int64_t extent, std::int64_t outputs) {
      return window.dilation[axis] == 1 && window.strides[axis] == window.size[axis] &&
             outputs * window.size[axis] >= before[axis] + extent;
    };
    return tiles(0, height, out_height) && tiles(1, width, out_width);
  }
};

// The rows or columns of one window that lie inside the image: [first, last) of the window, and
// where the window begins in the image (may be negative).
struct Inside {
  std::int64_t begin, first, last;
  std::int64_t count() const { return last - first; }
};

Inside inside(const Pooling& p, int axis, std::int64_t output) {
  const std::int64_t begin = output * p.window.strides[axis] - p.before[axis];
  const std::int64_t extent = axis == 0 ? p.height : p.width, step = p.window.dilation[axis];
  std::int64_t first = 0, last = p.window.size[axis];
  while (first < last && begin + first * step < 0) ++first;
  while (last > first && begin + (last - 1) * step >= extent) --last;
  return {begin, first, last};
}

// One window of one image, and kLanes or fewer of its channels.
struct Place {
  Inside rows, columns;
  std::int64_t output;   // offset of the first channel in y
  std::int64_t channel;  // the first channel
  // Offset in x of element (i, j) of the window.
  std::int64_t input(const Pooling& p, std::int64_t i, std::int64_t j) const {
    const std::int64_t h = rows.begin + i * p.window.dilation[0];
    const std::int64_t w = columns.begin + j * p.window.dilation[1];
    return (h * p.width + w) * p.channels + channel;
  }
};

// Calls body(place, lanes) for all windows and channels of one image; `lanes` is an integral
// constant but for the rest of the channels.
template <typename Body>
[[gnu::always_inline]] inline void for_places(const Pooling& p, const Body& body) {
  for (std::int64_t oh = 0; oh < p.out_height; ++oh) {
    const Inside rows = inside(p, 0, oh);
    for (std::int64_t ow = 0; ow < p.out_width; ++ow) {
      const Inside columns = inside(p, 1, ow);
      const std::int64_t at = (oh * p.out_width + ow) * p.channels;
      std::int64_t c = 0;
      for (; c + kLanes <= p.channels; c += kLanes) {
        body(Place{rows, columns, at + c, c}, std::integral_constant<std::int64_t, kLanes>{});
      }
      if (c < p.channels) body(Place{rows, columns, at + c, c}, p.channels - c);
    }
  }
}

// Calls body(i, j, position) for the elements of the window inside the image. kSize > 0: a square
// of that size where it is inside, unrolled.
template <std::int64_t kSize, typename Body>
[[gnu::always_inline]] inline void for_elements(const Pooling& p, const Place& place,
                                                const Body& body) {
  if constexpr (kSize > 0) {
    if (place.rows.count() == kSize && place.columns.count() == kSize) {
#pragma GCC unroll 4
      for (std::int64_t i = 0; i < kSize; ++i) {
#pragma GCC unroll 4
        for (std::int64_t j = 0; j < kSize; ++j) body(i, j, static_cast<int>(i * kSize + j));
      }
      return;
    }
  }
  for (std::int64_t i = place.rows.first; i < place.rows.last; ++i) {
    for (std::int64_t j = place.columns.first; j < place.columns.last; ++j) {
      body(i, j, static_cast<int>(i * p.window.size[1] + j));
    }
  }
}

// Calls body(constant) with the size of the window where there is a kernel for it alone, else with
// 0.
template <typename Body>
Kernel with_size(const Window2d& window, const Body& body) {
  if (window.size == std::array<std::int64_t, 2>{2, 2}) {
    return body(std::integral_constant<std::int64_t, 2>{});
  }
  if (window.size == std::array<std::int64_t, 2>{3, 3}) {
    return body(std::integral_constant<std::int64_t, 3>{});
  }
  return body(std::integral_constant<std::int64_t, 0>{});
}

// ---- Forward -----------------------------------------------------------------------------------

template <std::int64_t kSize, typename T>
void max_pool_image(const Pooling& p, const T* x, T* y, std::uint8_t* positions) {
  for_places(p, [=, &p](const Place& place, auto lanes) {
    Floats best = Floats{} - std::numeric_limits<float>::infinity();
    // The first element inside the image, where all are -infinity.
    Integers where = Integers{} + static_cast<int>(place.rows.first * p.window.size[1] + place.columns.first);
    for_elements<kSize>(p, place, [&](std::int64_t i, std::int64_t j, int position) {
      const Floats value = load(x + place.input(p, i, j), lanes);
      // A NaN is larger than everything: the bits of infinity are 0x7f800000. (GCC 12 at -O1 takes
      // value != value of a vector for false.)
      const Integers is_nan = (reinterpret_cast<Integers>(value) & 0x7fffffff) > 0x7f800000;
      const Integers better = (value > best) | is_nan;
      best = better ? value : best;
      where = better ? Integers{} + position : where;
    });
    store(y + place.output, best, lanes);
    using Bytes = std::uint8_t __attribute__((vector_size(kLanes)));
    const Bytes bytes = __builtin_convertvector(where, Bytes);
    std::memcpy(positions + place.output, &bytes, lanes);
  });
}

template <std::int64_t kSize, typename T>
void average_pool_image(const Pooling& p, const T* x, T* y) {
  for_places(p, [=, &p](const Place& place, auto lanes) {
    Floats sum{};
    for_elements<kSize>(p, place, [&](std::int64_t i, std::int64_t j, int) {
      sum += load(x + place.input(p, i, j), lanes);
    });
    const auto count = static_cast<float>(place.rows.count() * place.columns.count());
    store(y + place.output, sum / count, lanes);
  });
}

// ---- Backward ----------------------------------------------------------------------------------

// No activation; y is not read.
struct Linear {};

// Where windows do not overlap, every element of dx is written once, else it is a sum in f32.
template <bool kOverlap, typename Sum>
[[gnu::always_inline]] inline void give(Sum* to, const Floats& part, std::int64_t lanes) {
  store(to, kOverlap ? load(to, lanes) + part : part, lanes);
}

template <std::int64_t kSize, typename T, typename Sum, bool kOverlap, typename Function>
void max_pool_backward_image(const Pooling& p, const T* dy, const std::uint8_t* positions,
                             const T* y, Sum* dx, const Function& function) {
  for_places(p, [=, &p](const Place& place, auto lanes) {
    Floats d = load(dy + place.output, lanes);
    if constexpr (!std::is_same_v<Function, Linear>) {
      const Floats saved = load(y + place.output, lanes);
      float product[kLanes];
#pragma omp simd
      for (std::int64_t l = 0; l < kLanes; ++l) product[l] = function.backward(d[l], saved[l]);
      d = load(product, kLanes);
    }
    std::uint8_t __attribute__((vector_size(kLanes))) bytes{};
    std::memcpy(&bytes, positions + place.output, lanes);
    const Integers where = __builtin_convertvector(bytes, Integers);
    for_elements<kSize>(p, place, [&](std::int64_t i, std::int64_t j, int number) {
      give<kOverlap>(dx + place.input(p, i, j), where == number ? d : Floats{}, lanes);
    });
  });
}

template <std::int64_t kSize, typename T, typename Sum, bool kOverlap>
void average_pool_backward_image(const Pooling& p, const T* dy, Sum* dx) {
  for_places(p, [=, &p](const Place& place, auto lanes) {
    const auto count = static_cast<float>(place.rows.count() * place.columns.count());
    const Floats d = load(dy + place.output, lanes) / count;
    for_elements<kSize>(p, place, [&](std::int64_t i, std::int64_t j, int) {
      give<kOverlap>(dx + place.input(p, i, j), d, lanes);
    });
  });
}

// A kernel that calls image(launch, number of the image, dx of the image, overlap constant) for
// each image. dx starts as zeros; windows that overlap are summed in f32, which for bf16 is
// workspace.
template <typename T, typename Image>
Kernel make_backward(const char* name, const Pooling& p, const Image& image) {
  Kernel kernel{name, nullptr, 0};
  const std::int64_t elements = p.input_elements();
  if (!p.overlapping()) {
    const bool tiling = p.tiling();
    kernel.run = [=](const Launch& launch) {
      parallel_for(p.threads, p.images, 1, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = begin; i < end; ++i) {
          T* dx = launch.output<T>(0) + i * elements;
          if (!tiling) std::fill_n(dx, elements, T(0.0f));
          image(launch, i, dx, std::false_type{});
        }
      });
    };
    return kernel;
  }
  constexpr bool kInPlace = std::is_same_v<T, float>;
  if (!kInPlace) kernel.workspace_bytes = sizeof(float) * p.images * elements;
  kernel.run = [=](const Launch& launch) {
    parallel_for(p.threads, p.images, 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        T* dx = launch.output<T>(0) + i * elements;
        float* sum = static_cast<float*>(kInPlace ? launch.outputs[0] : launch.workspace);
        sum += i * elements;
        std::fill_n(sum, elements, 0.0f);
        image(launch, i, sum, std::true_type{});
        if constexpr (!kInPlace) {
#pragma omp simd
          for (std::int64_t e = 0; e < elements; ++e) dx[e] = sum[e];
        }
      }
    });
  };
  return kernel;
}

// ---- Entries -----------------------------------------------------------------------------------

// From the types of the image and of the pooled image; the layout is that of `like`.
Pooling pooling_of(const KernelRequest& request, const Window2d& window, const TensorType& x,
                   const TensorType& y, const TensorType& like) {
  const auto blocks = onednn::channel_blocks(like);
  check_input(blocks.has_value(), request.op.name(), ": no kernel for ", like.to_string());
  Pooling p;
  p.images = x.shape[0] * blocks->blocks;
  p.height = x.shape[1];
  p.width = x.shape[2];
  p.out_height = y.shape[1];
  p.out_width = y.shape[2];
  p.channels = blocks->block;
  p.window = window;
  for (int axis = 0; axis < 2; ++axis) {
    p.before[axis] = window.padding_before(axis, x.shape[axis + 1]);
  }
  p.threads = cpu_threads(request);
  return p;
}

Kernel max_pool2d_cpu(const KernelRequest& r) {
  const Pooling p =
      pooling_of(r, r.op_as<MaxPool2dOp>().window(), r.inputs[0], r.outputs[0], r.inputs[0]);
  return for_floating(r, r.inputs[0].dtype, [&](auto element) {
    using T = decltype(element);
    return with_size(p.window, [&](auto size) -> Kernel {
      return {"max_pool2d_cpu", [=](const Launch& launch) {
                parallel_for(p.threads, p.images, 1, [&](std::int64_t begin, std::int64_t end) {
                  for (std::int64_t i = begin; i < end; ++i) {
                    max_pool_image<size()>(
                        p, launch.input<T>(0) + i * p.input_elements(),
                        launch.output<T>(0) + i * p.output_elements(),
                        launch.output<std::uint8_t>(1) + i * p.output_elements());
                  }
                });
              }};
    });
  });
}

template <typename T, typename Function>
Kernel make_max_pool_backward(const Pooling& p, const Function& function) {
  return with_size(p.window, [&](auto size) {
    return make_backward<T>(
        "max_pool2d_backward_cpu", p,
        [=](const Launch& launch, std::int64_t number, auto* dx, auto overlap) {
          const std::int64_t at = number * p.output_elements();
          const T* y = nullptr;
          if constexpr (!std::is_same_v<Function, Linear>) y = launch.input<T>(2) + at;
          max_pool_backward_image<size(), T, std::remove_pointer_t<decltype(dx)>, overlap()>(
              p, launch.input<T>(0) + at, launch.input<std::uint8_t>(1) + at, y, dx, function);
        });
  });
}

Kernel max_pool2d_backward_cpu(const KernelRequest& r) {
  const auto& op = r.op_as<MaxPool2dBackwardOp>();
  // The positions are laid out as they were made; dy follows.
  const Pooling p = pooling_of(r, op.window(), r.outputs[0], r.inputs[0], r.inputs[0]);
  return for_floating(r, r.inputs[0].dtype, [&](auto element) {
    using T = decltype(element);
    if (!op.activation()) return make_max_pool_backward<T>(p, Linear{});
    return activation_math::with_function(
        *op.activation(), [&](auto function) { return make_max_pool_backward<T>(p, function); });
  });
}

Kernel average_pool2d_cpu(const KernelRequest& r) {
  const Pooling p =
      pooling_of(r, r.op_as<AveragePool2dOp>().window(), r.inputs[0], r.outputs[0], r.inputs[0]);
  return for_floating(r, r.inputs[0].dtype, [&](auto element) {
    using T = decltype(element);
    return with_size(p.window, [&](auto size) -> Kernel {
      return {"average_pool2d_cpu", [=](const Launch& launch) {
                parallel_for(p.threads, p.images, 1, [&](std::int64_t begin, std::int64_t end) {
                  for (std::int64_t i = begin; i < end; ++i) {
                    average_pool_image<size()>(p, launch.input<T>(0) + i * p.input_elements(),
                                               launch.output<T>(0) + i * p.output_elements());
                  }
                });
              }};
    });
  });
}

Kernel average_pool2d_backward_cpu(const KernelRequest& r) {
  const Pooling p = pooling_of(r, r.op_as<AveragePool2dBackwardOp>().window(), r.outputs[0],
                               r.inputs[0], r.inputs[0]);
  return for_floating(r, r.inputs[0].dtype, [&](auto element) {
    using T = decltype(element);
    return with_size(p.window, [&](auto size) {
      return make_backward<T>(
          "average_pool2d_backward_cpu", p,
          [=](const Launch& launch, std::int64_t number, auto* dx, auto overlap) {
            average_pool_backward_image<size(), T, std::remove_pointer_t<decltype(dx)>, overlap()>(
                p, launch.input<T>(0) + number * p.output_elements(), dx);
          });
    });
  });
}

// All values in the channel blocks of input `like`, where it has blocks.
std::optional<LayoutChoice> blocks_of(const KernelRequest& r, int like) {
  const auto blocks = onednn::channel_blocks(r.inputs[like]);
  if (!blocks || !r.inputs[like].layout) return std::nullopt;
  LayoutChoice choice;
  for (const TensorType& type : r.inputs) {
    choice.inputs.push_back(onednn::channel_blocked_layout(type.dtype, type.shape, blocks->block));
  }
  for (const TensorType& type : r.outputs) {
    choice.outputs.push_back(onednn::channel_blocked_layout(type.dtype, type.shape, blocks->block));
  }
  return choice;
}

}  // namespace

void register_pool2d_cpu(KernelRegistry& registry) {
  const auto like_input = [](const KernelRequest& r) { return blocks_of(r, 0); };
  const auto like_positions = [](const KernelRequest& r) { return blocks_of(r, 1); };
  registry.add("max_pool2d", DeviceKind::kCpu, {max_pool2d_cpu, like_input});
  registry.add("max_pool2d_backward", DeviceKind::kCpu, {max_pool2d_backward_cpu, like_positions});
  registry.add("average_pool2d", DeviceKind::kCpu, {average_pool2d_cpu, like_input});
  registry.add("average_pool2d_backward", DeviceKind::kCpu,
               {average_pool2d_backward_cpu, like_input});
}

}  // namespace lockstep
