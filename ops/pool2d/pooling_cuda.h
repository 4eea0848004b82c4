// Windows and pixels as the CUDA kernels of the poolings see them.
#pragma once

#include <algorithm>
#include <cstdint>

#include "core/kernel/cuda_elementwise.h"
#include "ops/window/window.h"

namespace lockstep::cuda_pooling {

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
  // Windows of `elements` neighbours that begin at every second element.
  bool is_halving(int elements) const { return size == elements && stride == 2 && dilation == 1; }

  // One comparison for both ends.
  __device__ bool has(int element) const { return static_cast<unsigned>(element) < static_cast<unsigned>(extent); }
  __device__ bool has_output(int output) const { return static_cast<unsigned>(output) < static_cast<unsigned>(outputs); }
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

  // Packs of N channels of the image, with a pixel around it, and of the pooled image can be counted in 32 bits.
  bool is_small(int N) const {
    const std::int64_t pixels = std::max((std::int64_t{rows.extent} + 2) * (columns.extent + 2),
                                         std::int64_t{rows.outputs} * columns.outputs);
    return images * pixels * (channels / N) <= (std::int64_t{1} << 31) - kThreads;
  }
};

// The pixels that threads have, and packs of their channels.
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

// A thread's pixel of an image or of a pooled image, and its pack of N channels there. Number counts packs: 32 bits, in which
// a place takes a third of the instructions, where Pooling::is_small, else 64.
template <int N, typename Number>
struct Place {
  Number thread, image, pack, packs;  // packs of a pixel
  int row, column;

  __device__ explicit Place(const Pixels& pixels)
      : thread(static_cast<Number>(blockIdx.x) * kThreads + static_cast<Number>(threadIdx.x)),
        packs(static_cast<Number>(pixels.packs.divisor)) {
    const Number pixel = quotient(pixels.packs, thread), line = quotient(pixels.width, pixel);
    pack = thread - pixel * packs;
    column = static_cast<int>(pixel - line * static_cast<Number>(pixels.width.divisor));
    image = quotient(pixels.height, line);
    row = static_cast<int>(line - image * static_cast<Number>(pixels.height.divisor));
  }
  __device__ static Number quotient(const Divisor& divisor, Number n) {
    if constexpr (sizeof(Number) == 4) {
      return divisor.small_quotient(n);
    } else {
      return divisor.quotient(n);
    }
  }
  // Where the pack is at another pixel, as offsets of its first channel in the image and in the pooled image. They are
  // products with N: the compiler stores a pack at once only where it sees that the pack is aligned.
  __device__ std::int64_t input(const Pooling& p, int h, int w) const {
    return elements((image * p.rows.extent + h) * p.columns.extent + w);
  }
  __device__ std::int64_t output(const Pooling& p, int oh, int ow) const {
    return elements((image * p.rows.outputs + oh) * p.columns.outputs + ow);
  }

 private:
  __device__ std::int64_t elements(Number pixel) const { return std::int64_t{pixel * packs + pack} * N; }
};

}  // namespace lockstep::cuda_pooling
