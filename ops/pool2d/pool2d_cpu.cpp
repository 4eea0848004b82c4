// CPU kernels of the poolings. Channels lie next to each other, all of them (NHWC) or in oneDNN's blocks of 8 or 16, so
// every loop runs along the channels; a kernel takes whichever its input has.
#include <algorithm>
#include <limits>

#include "core/base/bfloat16.h"
#include "core/device/cpu_device.h"
#include "core/kernel/onednn_kernel.h"
#include "ops/pool2d/pool2d.h"

namespace lockstep {
namespace {

// Images of `channels` neighbouring channels; their number counts blocks as images of their own.
struct Pooling {
  std::int64_t images = 0, height = 0, width = 0, out_height = 0, out_width = 0, channels = 0;
  Window2d window;
  std::int64_t before[2] = {0, 0};
  int threads = 1;

  // The rows or columns of the window at output `o` that lie inside the image: [first, last) of the window, and where
  // the window begins in the image (may be negative).
  struct Inside {
    std::int64_t begin, first, last;
  };
  Inside inside(int axis, std::int64_t o) const {
    const std::int64_t begin = o * window.strides[axis] - before[axis];
    const std::int64_t extent = axis == 0 ? height : width;
    const std::int64_t step = window.dilation[axis];
    std::int64_t first = 0, last = window.size[axis];
    while (first < last && begin + first * step < 0) ++first;
    while (last > first && begin + (last - 1) * step >= extent) --last;
    return {begin, first, last};
  }

  // Calls body(output offset, window position, input offset) for each element of each window of one image; offsets in
  // elements, of the first channel. `open` and `close` are called with the output offset before and after each window
  // (close also with the number of elements).
  template <typename Open, typename Body, typename Close>
  void for_windows(const Open& open, const Body& body, const Close& close) const {
    for (std::int64_t oh = 0; oh < out_height; ++oh) {
      const Inside rows = inside(0, oh);
      for (std::int64_t ow = 0; ow < out_width; ++ow) {
        const Inside columns = inside(1, ow);
        const std::int64_t at = (oh * out_width + ow) * channels;
        open(at);
        for (std::int64_t i = rows.first; i < rows.last; ++i) {
          for (std::int64_t j = columns.first; j < columns.last; ++j) {
            const std::int64_t h = rows.begin + i * window.dilation[0], w = columns.begin + j * window.dilation[1];
            body(at, i * window.size[1] + j, (h * width + w) * channels);
          }
        }
        close(at, (rows.last - rows.first) * (columns.last - columns.first));
      }
    }
  }
  std::int64_t input_elements() const { return height * width * channels; }
  std::int64_t output_elements() const { return out_height * out_width * channels; }
};

Pooling pooling_of(const Window2d& window, const TensorType& x, const TensorType& y, const TensorType& with_layout,
                   Device& device) {
  const auto blocks = onednn::channel_blocks(with_layout);
  check_input(blocks.has_value(), "pooling: no kernel for ", with_layout.to_string());
  Pooling p;
  p.images = x.shape[0] * blocks->blocks;
  p.height = x.shape[1];
  p.width = x.shape[2];
  p.out_height = y.shape[1];
  p.out_width = y.shape[2];
  p.channels = blocks->block;
  p.window = window;
  for (int axis = 0; axis < 2; ++axis) p.before[axis] = window.padding_before(axis, x.shape[axis + 1]);
  p.threads = static_cast<const CpuDevice&>(device).threads();
  return p;
}

constexpr std::int64_t kPiece = 64;  // channels at a time: best values and positions stay in registers or L1

template <typename T>
void max_pool_image(const Pooling& p, const T* x, T* y, std::uint8_t* positions) {
  float best[kPiece];
  std::int32_t where[kPiece];
  for (std::int64_t c = 0; c < p.channels; c += kPiece) {
    const std::int64_t n = std::min(kPiece, p.channels - c);
    p.for_windows(
        [&](std::int64_t) {
          for (std::int64_t i = 0; i < n; ++i) best[i] = -std::numeric_limits<float>::infinity();
          for (std::int64_t i = 0; i < n; ++i) where[i] = 0;
        },
        [&](std::int64_t, std::int64_t position, std::int64_t at) {
          const T* from = x + at + c;
          const auto number = static_cast<std::int32_t>(position);
#pragma GCC ivdep
          for (std::int64_t i = 0; i < n; ++i) {
            const float value = from[i];
            const bool better = value > best[i] || value != value;
            best[i] = better ? value : best[i];
            where[i] = better ? number : where[i];
          }
        },
        [&](std::int64_t at, std::int64_t) {
          T* to = y + at + c;
          std::uint8_t* position = positions + at + c;
#pragma GCC ivdep
          for (std::int64_t i = 0; i < n; ++i) to[i] = best[i];
#pragma GCC ivdep
          for (std::int64_t i = 0; i < n; ++i) position[i] = static_cast<std::uint8_t>(where[i]);
        });
  }
}

template <typename T>
Kernel make_max_pool(const Pooling& p) {
  return {"max_pool2d_cpu", [p](const Launch& launch) {
            parallel_for(p.threads, p.images, 1, [&](std::int64_t begin, std::int64_t end) {
              for (std::int64_t i = begin; i < end; ++i) {
                max_pool_image(p, launch.input<T>(0) + i * p.input_elements(),
                               launch.output<T>(0) + i * p.output_elements(),
                               launch.output<std::uint8_t>(1) + i * p.output_elements());
              }
            });
          }};
}

// Gradients are summed in f32 where windows overlap: `sum` is dx itself, or the workspace for bf16.
template <typename T, typename Accumulate>
Kernel make_backward(const char* name, const Pooling& p, const Accumulate& accumulate) {
  Kernel kernel{name, nullptr, 0};
  constexpr bool kDirect = std::is_same_v<T, float>;
  if (!kDirect) kernel.workspace_bytes = static_cast<std::size_t>(p.images * p.input_elements()) * sizeof(float);
  kernel.run = [p, accumulate](const Launch& launch) {
    parallel_for(p.threads, p.images, 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        T* dx = launch.output<T>(0) + i * p.input_elements();
        float* sum = nullptr;
        if constexpr (kDirect) {
          sum = dx;
        } else {
          sum = static_cast<float*>(launch.workspace) + i * p.input_elements();
        }
        std::fill(sum, sum + p.input_elements(), 0.0f);
        accumulate(launch, i, sum);
        if constexpr (!kDirect) {
          for (std::int64_t e = 0; e < p.input_elements(); ++e) dx[e] = sum[e];
        }
      }
    });
  };
  return kernel;
}

template <typename T>
Kernel make_max_pool_backward(const Pooling& p) {
  return make_backward<T>("max_pool2d_backward_cpu", p, [p](const Launch& launch, std::int64_t image, float* sum) {
    const T* dy = launch.input<T>(0) + image * p.output_elements();
    const std::uint8_t* positions = launch.input<std::uint8_t>(1) + image * p.output_elements();
    p.for_windows([](std::int64_t) {},
                  [&](std::int64_t at, std::int64_t position, std::int64_t to) {
                    const auto number = static_cast<std::uint8_t>(position);
#pragma GCC ivdep
                    for (std::int64_t c = 0; c < p.channels; ++c) {
                      sum[to + c] += positions[at + c] == number ? static_cast<float>(dy[at + c]) : 0.0f;
                    }
                  },
                  [](std::int64_t, std::int64_t) {});
  });
}

template <typename T>
void average_pool_image(const Pooling& p, const T* x, T* y) {
  float sum[kPiece];
  for (std::int64_t c = 0; c < p.channels; c += kPiece) {
    const std::int64_t n = std::min(kPiece, p.channels - c);
    p.for_windows([&](std::int64_t) { std::fill(sum, sum + n, 0.0f); },
                  [&](std::int64_t, std::int64_t, std::int64_t at) {
#pragma GCC ivdep
                    for (std::int64_t i = 0; i < n; ++i) sum[i] += static_cast<float>(x[at + c + i]);
                  },
                  [&](std::int64_t at, std::int64_t count) {
                    const auto elements = static_cast<float>(count);
#pragma GCC ivdep
                    for (std::int64_t i = 0; i < n; ++i) y[at + c + i] = sum[i] / elements;
                  });
  }
}

template <typename T>
Kernel make_average_pool(const Pooling& p) {
  return {"average_pool2d_cpu", [p](const Launch& launch) {
            parallel_for(p.threads, p.images, 1, [&](std::int64_t begin, std::int64_t end) {
              for (std::int64_t i = begin; i < end; ++i) {
                average_pool_image(p, launch.input<T>(0) + i * p.input_elements(),
                                   launch.output<T>(0) + i * p.output_elements());
              }
            });
          }};
}

template <typename T>
Kernel make_average_pool_backward(const Pooling& p) {
  return make_backward<T>("average_pool2d_backward_cpu", p, [p](const Launch& launch, std::int64_t image, float* sum) {
    const T* dy = launch.input<T>(0) + image * p.output_elements();
    for (std::int64_t oh = 0; oh < p.out_height; ++oh) {
      const auto rows = p.inside(0, oh);
      for (std::int64_t ow = 0; ow < p.out_width; ++ow) {
        const auto columns = p.inside(1, ow);
        const float share = 1.0f / static_cast<float>((rows.last - rows.first) * (columns.last - columns.first));
        const T* from = dy + (oh * p.out_width + ow) * p.channels;
        for (std::int64_t i = rows.first; i < rows.last; ++i) {
          for (std::int64_t j = columns.first; j < columns.last; ++j) {
            const std::int64_t h = rows.begin + i * p.window.dilation[0], w = columns.begin + j * p.window.dilation[1];
            float* to = sum + (h * p.width + w) * p.channels;
#pragma GCC ivdep
            for (std::int64_t c = 0; c < p.channels; ++c) to[c] += share * static_cast<float>(from[c]);
          }
        }
      }
    }
  });
}

// ---- Entries -----------------------------------------------------------------------------------

template <typename Make>
Kernel by_type(DType dtype, const Make& make) {
  return dtype == DType::kF32 ? make(float{}) : make(BFloat16{});
}

Kernel max_pool2d_cpu(const KernelRequest& r) {
  const Pooling p = pooling_of(r.op_as<MaxPool2dOp>().window(), r.inputs[0], r.outputs[0], r.inputs[0], r.device);
  return by_type(r.inputs[0].dtype, [&](auto type) { return make_max_pool<decltype(type)>(p); });
}

Kernel max_pool2d_backward_cpu(const KernelRequest& r) {
  const Pooling p = pooling_of(r.op_as<MaxPool2dBackwardOp>().window(), r.outputs[0], r.inputs[0], r.inputs[0], r.device);
  return by_type(r.inputs[0].dtype, [&](auto type) { return make_max_pool_backward<decltype(type)>(p); });
}

Kernel average_pool2d_cpu(const KernelRequest& r) {
  const Pooling p = pooling_of(r.op_as<AveragePool2dOp>().window(), r.inputs[0], r.outputs[0], r.inputs[0], r.device);
  return by_type(r.inputs[0].dtype, [&](auto type) { return make_average_pool<decltype(type)>(p); });
}

Kernel average_pool2d_backward_cpu(const KernelRequest& r) {
  const Pooling p =
      pooling_of(r.op_as<AveragePool2dBackwardOp>().window(), r.outputs[0], r.inputs[0], r.inputs[0], r.device);
  return by_type(r.inputs[0].dtype, [&](auto type) { return make_average_pool_backward<decltype(type)>(p); });
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
  registry.add("average_pool2d_backward", DeviceKind::kCpu, {average_pool2d_backward_cpu, like_input});
}

}  // namespace lockstep
