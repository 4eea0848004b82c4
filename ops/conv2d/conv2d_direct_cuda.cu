// CUDA kernels of the convolution that need no library: implicit matrix products.
//
// For each group, C (rows, columns) = A (rows, depth) B (depth, columns), where
//
//                     rows             columns    depth             A           B
//   forward           (n, oh, ow)      out        (kh, kw, in)      x           weight
//   backward data     (n, h, w)        in         (kh, kw, out)     dy          weight
//   backward weights  (kh, kw, in)     out        (n, oh, ow)       x           dy
//
// (channels of one group), and A is gathered from the images as it is needed. Sums go along the depth in its order, in f32;
// the depth of backward weights is cut into pieces by the sizes alone, which are added afterwards.
#include "core/builtin/transposed_layout.h"
#include "core/kernel/cuda_elementwise.h"
#include "ops/activation/activation_cuda.h"
#include "ops/conv2d/conv2d_cuda.h"
#include "ops/reduce/column_sum_cuda.h"

namespace lockstep {
namespace {

// Of one image.
struct Image {
  int height, width, channels;
  __device__ bool has(int h, int w) const { return h >= 0 && w >= 0 && h < height && w < width; }
  __device__ std::int64_t at(int h, int w) const { return (static_cast<std::int64_t>(h) * width + w) * channels; }
};

// The number (i, j, k) of sizes (?, b, c).
struct Triple {
  Divisor b, c;
  Triple(std::int64_t a, std::int64_t second, std::int64_t third)
      : b(second, a * second), c(third, a * second * third) {}
  __device__ void split(std::int64_t number, std::int64_t& i, int& j, int& k) const {
    const std::int64_t ij = c.quotient(number);
    k = static_cast<int>(number - ij * c.divisor);
    i = b.quotient(ij);
    j = static_cast<int>(ij - i * b.divisor);
  }
};

// Element (tap and channel in, channel out) of the weight.
struct WeightPlaces {
  std::int64_t row, column;
  __device__ std::int64_t at(std::int64_t r, std::int64_t o) const { return r * row + o * column; }
};

WeightPlaces weight_places(const ConvolutionSizes& s, const TensorType& weight) {
  if (is_transposed(weight)) return {1, s.kernel[0] * s.kernel[1] * s.in_group()};
  return {s.out, 1};
}

struct Windows {
  int stride_h, stride_w, dilation_h, dilation_w, before_h, before_w;
  explicit Windows(const ConvolutionSizes& s)
      : stride_h(static_cast<int>(s.strides[0])),
        stride_w(static_cast<int>(s.strides[1])),
        dilation_h(static_cast<int>(s.dilation[0])),
        dilation_w(static_cast<int>(s.dilation[1])),
        before_h(static_cast<int>(s.before[0])),
        before_w(static_cast<int>(s.before[1])) {}
};

Image image(const std::array<std::int64_t, 2>& size, std::int64_t channels) {
  return {static_cast<int>(size[0]), static_cast<int>(size[1]), static_cast<int>(channels)};
}

// ---- Ends ----------------------------------------------------------------------------------------

// y = f(sum + bias).
template <typename T>
struct StoreOutput {
  T* y = nullptr;
  const void* bias = nullptr;
  bool low_bias = false, activated = false;
  ActivationKind kind = ActivationKind::kRelu;
  float slope = 0;

  __device__ void operator()(std::int64_t at, std::int64_t channel, float value) const {
    if (bias != nullptr) {
      value = __fadd_rn(value, low_bias ? to_float(static_cast<const BFloat16*>(bias)[channel])
                                        : static_cast<const float*>(bias)[channel]);
    }
    y[at] = from_float<T>(activated ? function(value) : value);
  }
  __device__ float function(float x) const {
    switch (kind) {
      case ActivationKind::kRelu:
        return cuda_activation::Relu{}(x);
      case ActivationKind::kLeakyRelu:
        return cuda_activation::LeakyRelu{slope}(x);
      case ActivationKind::kSigmoid:
        return cuda_activation::Sigmoid{}(x);
      case ActivationKind::kTanh:
        return cuda_activation::Tanh{}(x);
      case ActivationKind::kGelu:
        return cuda_activation::Gelu{}(x);
      case ActivationKind::kGeluApproximate:
        return cuda_activation::GeluApproximate{}(x);
    }
    return x;
  }
};

// ---- The three products ----------------------------------------------------------------------------

// Each has Row and Depth, what is known of a row and of a place along the depth; a() and b(), elements of A and B; and
// store(). kRowsTogether: neighbouring rows of A are neighbours in memory, else neighbouring places along the depth are.
template <typename T>
struct Forward {
  static constexpr bool kRowsTogether = false;
  Image in;
  Windows windows;
  Triple outputs, taps;
  std::int64_t in_group, out_group, out;
  WeightPlaces places;
  const T *x = nullptr, *weight = nullptr;
  StoreOutput<T> end = {};

  Forward(const ConvolutionSizes& s, const WeightPlaces& places)
      : in(image(s.input, s.in)),
        windows(s),
        outputs(s.batch, s.output[0], s.output[1]),
        taps(s.kernel[0], s.kernel[1], s.in_group()),
        in_group(s.in_group()),
        out_group(s.out_group()),
        out(s.out),
        places(places) {}

  struct Row {
    const T* image;
    int h, w;  // of the window's first element
  };
  struct Depth {
    int h, w, channel;
  };
  __device__ Row row(std::int64_t group, std::int64_t m) const {
    std::int64_t n;
    int oh, ow;
    outputs.split(m, n, oh, ow);
    return {x + n * in.at(in.height, 0) + group * in_group, oh * windows.stride_h - windows.before_h,
            ow * windows.stride_w - windows.before_w};
  }
  __device__ Depth depth(std::int64_t k) const {
    std::int64_t i;
    int j, c;
    taps.split(k, i, j, c);
    return {static_cast<int>(i) * windows.dilation_h, j * windows.dilation_w, c};
  }
  __device__ float a(const Row& row, const Depth& d) const {
    const int h = row.h + d.h, w = row.w + d.w;
    return in.has(h, w) ? to_float(row.image[in.at(h, w) + d.channel]) : 0.0f;
  }
  __device__ float b(std::int64_t group, std::int64_t k, std::int64_t column) const {
    return to_float(weight[places.at(k, group * out_group + column)]);
  }
  __device__ void store(std::int64_t, std::int64_t group, std::int64_t m, std::int64_t column, float sum) const {
    const std::int64_t channel = group * out_group + column;
    end(m * out + channel, channel, sum);
  }
};

template <typename T>
struct BackwardData {
  static constexpr bool kRowsTogether = false;
  Image out;
  Windows windows;
  Divisor stride_h, stride_w;
  Triple inputs, taps;  // taps: (kh, kw, channels out)
  std::int64_t in_group, out_group, in, kernel_width;
  WeightPlaces places;
  const T *dy = nullptr, *weight = nullptr;
  T* dx = nullptr;

  BackwardData(const ConvolutionSizes& s, const WeightPlaces& places)
      : out(image(s.output, s.out)),
        windows(s),
        stride_h(s.strides[0], std::int64_t{1} << 31),
        stride_w(s.strides[1], std::int64_t{1} << 31),
        inputs(s.batch, s.input[0], s.input[1]),
        taps(s.kernel[0], s.kernel[1], s.out_group()),
        in_group(s.in_group()),
        out_group(s.out_group()),
        in(s.in),
        kernel_width(s.kernel[1]),
        places(places) {}

  struct Row {
    const T* image;
    int h, w;  // in the padded image
  };
  struct Depth {
    int h, w, channel;
  };
  __device__ Row row(std::int64_t group, std::int64_t m) const {
    std::int64_t n;
    int h, w;
    inputs.split(m, n, h, w);
    return {dy + n * out.at(out.height, 0) + group * out_group, h + windows.before_h, w + windows.before_w};
  }
  __device__ Depth depth(std::int64_t k) const {
    std::int64_t i;
    int j, c;
    taps.split(k, i, j, c);
    return {static_cast<int>(i) * windows.dilation_h, j * windows.dilation_w, c};
  }
  __device__ float a(const Row& row, const Depth& d) const {
    const int h = row.h - d.h, w = row.w - d.w;
    if (h < 0 || w < 0) return 0.0f;
    const int oh = static_cast<int>(stride_h.quotient(h)), ow = static_cast<int>(stride_w.quotient(w));
    if (oh * windows.stride_h != h || ow * windows.stride_w != w || !out.has(oh, ow)) return 0.0f;
    return to_float(row.image[out.at(oh, ow) + d.channel]);
  }
  __device__ float b(std::int64_t group, std::int64_t k, std::int64_t column) const {
    std::int64_t i;
    int j, c;
    taps.split(k, i, j, c);
    return to_float(weight[places.at((i * kernel_width + j) * in_group + column, group * out_group + c)]);
  }
  __device__ void store(std::int64_t, std::int64_t group, std::int64_t m, std::int64_t column, float sum) const {
    dx[m * in + group * in_group + column] = from_float<T>(sum);
  }
};

template <typename T>
struct BackwardWeights {
  static constexpr bool kRowsTogether = true;
  Image in;
  Windows windows;
  Triple outputs, taps;
  std::int64_t in_group, out_group, out, elements;
  WeightPlaces places;
  const T *x = nullptr, *dy = nullptr;
  float* dw = nullptr;  // or the pieces, one gradient behind the other

  BackwardWeights(const ConvolutionSizes& s, const WeightPlaces& places)
      : in(image(s.input, s.in)),
        windows(s),
        outputs(s.batch, s.output[0], s.output[1]),
        taps(s.kernel[0], s.kernel[1], s.in_group()),
        in_group(s.in_group()),
        out_group(s.out_group()),
        out(s.out),
        elements(s.weight_elements()),
        places(places) {}

  struct Row {
    int h, w;
    std::int64_t channel;
  };
  struct Depth {
    const T* image;
    int h, w;
  };
  __device__ Row row(std::int64_t group, std::int64_t m) const {
    std::int64_t i;
    int j, c;
    taps.split(m, i, j, c);
    return {static_cast<int>(i) * windows.dilation_h, j * windows.dilation_w, group * in_group + c};
  }
  __device__ Depth depth(std::int64_t k) const {
    std::int64_t n;
    int oh, ow;
    outputs.split(k, n, oh, ow);
    return {x + n * in.at(in.height, 0), oh * windows.stride_h - windows.before_h,
            ow * windows.stride_w - windows.before_w};
  }
  __device__ float a(const Row& row, const Depth& d) const {
    const int h = row.h + d.h, w = row.w + d.w;
    return in.has(h, w) ? to_float(d.image[in.at(h, w) + row.channel]) : 0.0f;
  }
  __device__ float b(std::int64_t group, std::int64_t k, std::int64_t column) const {
    return to_float(dy[k * out + group * out_group + column]);
  }
  __device__ void store(std::int64_t piece, std::int64_t group, std::int64_t m, std::int64_t column, float sum) const {
    dw[piece * elements + places.at(m, group * out_group + column)] = sum;
  }
};

// ---- Kernels ---------------------------------------------------------------------------------------

struct Extents {
  std::int64_t groups, rows, columns, depth;
  std::int64_t pieces = 1, depth_of_piece = 0;  // of the depth
};

constexpr int kTile = 64;   // rows and columns of a block; a thread has four of each
constexpr int kDepth = 16;  // that is in shared memory at a time
constexpr int kSide = 16;   // threads of a block along rows and columns
constexpr int kEach = kTile / kSide;
static_assert(kSide * kSide == kThreads);

// What a block keeps of A and B; rows of an odd length, so that columns are in different banks.
struct Tiles {
  float a[kDepth][kTile + 1], b[kDepth][kTile + 1];
};

// The rows of A that a thread loads, and which of them are there.
template <typename Product>
struct OwnRows {
  static constexpr int kStep = Product::kRowsTogether ? kTile : kThreads / kDepth;
  static constexpr int kCount = kTile / kStep;
  typename Product::Row row[kCount];
  bool there[kCount];
};

template <typename Product>
__device__ inline OwnRows<Product> own_rows(const Product& p, const Extents& e, std::int64_t group, std::int64_t m0) {
  const int t = static_cast<int>(threadIdx.x), first = Product::kRowsTogether ? t % kTile : t / kDepth;
  OwnRows<Product> out;
#pragma unroll
  for (int i = 0; i < OwnRows<Product>::kCount; ++i) {
    const std::int64_t m = m0 + first + i * OwnRows<Product>::kStep;
    out.there[i] = m < e.rows;
    out.row[i] = p.row(group, out.there[i] ? m : 0);
  }
  return out;
}

template <typename Product>
__device__ inline void load_a(const Product& p, const OwnRows<Product>& rows, std::int64_t k0, std::int64_t end,
                              Tiles& tiles) {
  const int t = static_cast<int>(threadIdx.x);
  if constexpr (Product::kRowsTogether) {
#pragma unroll
    for (int i = 0; i < kDepth; i += kThreads / kTile) {
      const int d = t / kTile + i;
      const std::int64_t k = k0 + d;
      tiles.a[d][t % kTile] = rows.there[0] && k < end ? p.a(rows.row[0], p.depth(k)) : 0.0f;
    }
  } else {
    const int d = t % kDepth;
    const bool inside = k0 + d < end;
    const auto depth = p.depth(inside ? k0 + d : 0);
#pragma unroll
    for (int i = 0; i < OwnRows<Product>::kCount; ++i) {
      tiles.a[d][t / kDepth + i * OwnRows<Product>::kStep] =
          rows.there[i] && inside ? p.a(rows.row[i], depth) : 0.0f;
    }
  }
}

template <typename Product>
__device__ inline void load_b(const Product& p, const Extents& e, std::int64_t group, std::int64_t n0, std::int64_t k0,
                              std::int64_t end, Tiles& tiles) {
  const int t = static_cast<int>(threadIdx.x), c = t % kTile;
#pragma unroll
  for (int i = 0; i < kDepth; i += kThreads / kTile) {
    const int d = t / kTile + i;
    const std::int64_t k = k0 + d, n = n0 + c;
    tiles.b[d][c] = n < e.columns && k < end ? p.b(group, k, n) : 0.0f;
  }
}

// One tile of C for one piece of the depth. Blocks count columns first, then rows, groups and pieces.
template <typename Product>
__global__ void __launch_bounds__(kThreads) tiled(Product p, Extents e) {
  __shared__ Tiles tiles;
  const std::int64_t column_tiles = (e.columns + kTile - 1) / kTile, row_tiles = (e.rows + kTile - 1) / kTile;
  std::int64_t block = blockIdx.x;
  const std::int64_t n0 = block % column_tiles * kTile;
  block /= column_tiles;
  const std::int64_t m0 = block % row_tiles * kTile;
  block /= row_tiles;
  const std::int64_t group = block % e.groups, piece = block / e.groups;
  const std::int64_t begin = piece * e.depth_of_piece, full = begin + e.depth_of_piece;
  const std::int64_t end = full < e.depth ? full : e.depth;
  const int ty = static_cast<int>(threadIdx.x) / kSide, tx = static_cast<int>(threadIdx.x) % kSide;
  const OwnRows<Product> rows = own_rows(p, e, group, m0);
  float sum[kEach][kEach] = {};
  for (std::int64_t k0 = begin; k0 < end; k0 += kDepth) {
    load_a(p, rows, k0, end, tiles);
    load_b(p, e, group, n0, k0, end, tiles);
    __syncthreads();
#pragma unroll
    for (int d = 0; d < kDepth; ++d) {
      float a[kEach], b[kEach];
#pragma unroll
      for (int i = 0; i < kEach; ++i) a[i] = tiles.a[d][ty + i * kSide];
#pragma unroll
      for (int i = 0; i < kEach; ++i) b[i] = tiles.b[d][tx + i * kSide];
#pragma unroll
      for (int i = 0; i < kEach; ++i) {
#pragma unroll
        for (int j = 0; j < kEach; ++j) sum[i][j] = fmaf(a[i], b[j], sum[i][j]);
      }
    }
    __syncthreads();
  }
#pragma unroll
  for (int i = 0; i < kEach; ++i) {
#pragma unroll
    for (int j = 0; j < kEach; ++j) {
      const std::int64_t m = m0 + ty + i * kSide, n = n0 + tx + j * kSide;
      if (m < e.rows && n < e.columns) p.store(piece, group, m, n, sum[i][j]);
    }
  }
}

// One element of C, of one piece, for each thread: where a group has few columns. Neighbouring threads have neighbouring
// channels.
template <typename Product>
__global__ void __launch_bounds__(kThreads) narrow(Product p, Extents e) {
  const std::int64_t channels = e.groups * e.columns;
  std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= e.pieces * e.rows * channels) return;
  const std::int64_t channel = i % channels;
  i /= channels;
  const std::int64_t m = i % e.rows, piece = i / e.rows, group = channel / e.columns;
  const std::int64_t column = channel - group * e.columns;
  const std::int64_t begin = piece * e.depth_of_piece, full = begin + e.depth_of_piece;
  const std::int64_t end = full < e.depth ? full : e.depth;
  const auto row = p.row(group, m);
  float sum = 0;
  for (std::int64_t k = begin; k < end; ++k) sum = fmaf(p.a(row, p.depth(k)), p.b(group, k, column), sum);
  p.store(piece, group, m, column, sum);
}

bool is_narrow(const Extents& e) { return e.columns < kTile / 4; }

template <typename Product>
void launch_product(const Launch& on, const Product& product, const Extents& e) {
  if (is_narrow(e)) {
    return launch(on, blocks_for(e.pieces * e.rows * e.groups * e.columns, kThreads), kThreads, narrow<Product>, product,
                  e);
  }
  const std::int64_t tiles = (e.columns + kTile - 1) / kTile * ((e.rows + kTile - 1) / kTile);
  launch(on, dim3(static_cast<unsigned>(tiles * e.groups * e.pieces)), kThreads, tiled<Product>, product, e);
}

Extents whole(std::int64_t groups, std::int64_t rows, std::int64_t columns, std::int64_t depth) {
  return {groups, rows, columns, depth, 1, depth};
}

// Enough pieces to fill a GPU, of at least 256 places each; and of at most 4096, for the sake of precision.
Extents backward_weights_extents(const ConvolutionSizes& s) {
  constexpr std::int64_t kEnough = 132 * 4 * kThreads, kLeast = 256, kMost = 4096;
  Extents e = whole(s.groups, s.kernel[0] * s.kernel[1] * s.in_group(), s.out_group(),
                    s.batch * s.output[0] * s.output[1]);
  const std::int64_t tiles = (e.rows + kTile - 1) / kTile * ((e.columns + kTile - 1) / kTile) * e.groups;
  const std::int64_t threads = is_narrow(e) ? e.rows * e.columns * e.groups : tiles * kThreads;
  const std::int64_t wanted = std::max((e.depth + kMost - 1) / kMost, (kEnough + threads - 1) / threads);
  e.pieces = std::min(wanted, (e.depth + kLeast - 1) / kLeast);
  e.depth_of_piece = (e.depth + e.pieces - 1) / e.pieces;
  e.pieces = (e.depth + e.depth_of_piece - 1) / e.depth_of_piece;
  return e;
}

std::string kernel_name(const KernelRequest& request) { return text(request.op.name(), "_cuda (direct)"); }

std::size_t aligned(std::size_t bytes) { return (bytes + kMemoryAlignment - 1) / kMemoryAlignment * kMemoryAlignment; }

}  // namespace

Kernel conv2d_direct_cuda(const KernelRequest& request) {
  const ConvolutionSizes s = convolution_sizes(request);
  if (s.empty()) return convolution_of_nothing(request);
  const auto& activation = request.op_as<Conv2dOp>().activation();
  const bool with_bias = request.inputs.size() == 3;
  const bool low_bias = with_bias && request.inputs[2].dtype == DType::kBF16;
  const Extents e = whole(s.groups, s.batch * s.output[0] * s.output[1], s.out_group(),
                          s.kernel[0] * s.kernel[1] * s.in_group());
  return for_cuda_floating(request, s.dtype, [&]<typename T>(T) -> Kernel {
    Forward<T> product(s, weight_places(s, request.inputs[1]));
    product.end.low_bias = low_bias;
    if (activation) {
      product.end.activated = true;
      product.end.kind = activation->kind;
      product.end.slope = static_cast<float>(activation->negative_slope);
    }
    return {kernel_name(request), [=](const Launch& on) {
              Forward<T> p = product;
              p.x = on.input<T>(0);
              p.weight = on.input<T>(1);
              p.end.y = on.output<T>(0);
              p.end.bias = with_bias ? on.inputs[2] : nullptr;
              launch_product(on, p, e);
            }};
  });
}

Kernel conv2d_backward_data_direct_cuda(const KernelRequest& request) {
  const ConvolutionSizes s = convolution_sizes(request);
  if (s.empty()) return convolution_of_nothing(request);
  const Extents e = whole(s.groups, s.batch * s.input[0] * s.input[1], s.in_group(),
                          s.kernel[0] * s.kernel[1] * s.out_group());
  return for_cuda_floating(request, s.dtype, [&]<typename T>(T) -> Kernel {
    const BackwardData<T> product(s, weight_places(s, request.inputs[1]));
    return {kernel_name(request), [=](const Launch& on) {
              BackwardData<T> p = product;
              p.dy = on.input<T>(0);
              p.weight = on.input<T>(1);
              p.dx = on.output<T>(0);
              launch_product(on, p, e);
            }};
  });
}

Kernel conv2d_backward_weights_direct_cuda(const KernelRequest& request) {
  const ConvolutionSizes s = convolution_sizes(request);
  if (s.empty()) return convolution_of_nothing(request);
  const bool with_bias = request.op_as<Conv2dBackwardWeightsOp>().with_bias();
  const Extents e = backward_weights_extents(s);
  const ColumnSum sum(1, e.pieces, s.weight_elements(), MatrixValues<float>::kWidest, 1);
  const std::size_t pieces =
      e.pieces == 1 ? 0 : aligned(static_cast<std::size_t>(e.pieces * s.weight_elements()) * sizeof(float));
  return for_cuda_floating(request, s.dtype, [&]<typename T>(T) -> Kernel {
    const BackwardWeights<T> product(s, weight_places(s, request.outputs[0]));
    const auto run = [=](const Launch& on) {
      BackwardWeights<T> p = product;
      p.x = on.input<T>(0);
      p.dy = on.input<T>(1);
      p.dw = e.pieces == 1 ? on.output<float>(0) : static_cast<float*>(on.workspace);
      launch_product(on, p, e);
      if (e.pieces > 1) {
        launch_column_sum<1>(on, sum, nullptr, MatrixValues<float>{p.dw, s.weight_elements()},
                             StoreSum<float>{on.output<float>(0)});
      }
      if (with_bias) {
        launch_bias_gradient(on, s, on.inputs[1], on.outputs[1], static_cast<std::byte*>(on.workspace) + pieces);
      }
    };
    return {kernel_name(request), run, pieces + (with_bias ? bias_gradient_workspace(s) : 0)};
  });
}

void register_conv2d_direct_cuda(KernelRegistry& registry) {
  registry.add("conv2d", DeviceKind::kCuda, {conv2d_direct_cuda, conv2d_layouts_cuda});
  registry.add("conv2d_backward_data", DeviceKind::kCuda, {conv2d_backward_data_direct_cuda, conv2d_layouts_cuda});
  registry.add("conv2d_backward_weights", DeviceKind::kCuda,
               {conv2d_backward_weights_direct_cuda, conv2d_layouts_cuda});
}

}  // namespace lockstep
