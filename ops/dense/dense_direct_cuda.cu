// CUDA kernels of the matrix products that need no library. C (rows, columns) = A (rows, depth) B (depth, columns):
//
//                     rows   columns   depth   A              B
//   forward           rows   out       in      x              w
//   backward data     rows   in        out     dy             w transposed
//   backward weights  in     out       rows    x transposed   dy
//
// Products with vectors (one row, one input or one output) have kernels of their own, which are as fast as memory. For all others
// there is one kernel by tiles. All sums are taken in f32, in an order that depends on the sizes only.
#include "core/kernel/cuda_elementwise.h"
#include "ops/activation/activation_cuda.h"
#include "ops/dense/dense_cuda.h"
#include "ops/reduce/column_sum_cuda.h"

namespace lockstep {
namespace {

// ---- What becomes of a sum -------------------------------------------------------------------------

// y = f(sum + bias).
template <typename T>
struct StoreOutput {
  Divisor columns;
  cuda_activation::Chosen function;
  bool low_bias = false;
  const void* bias = nullptr;
  T* y = nullptr;

  StoreOutput(const DenseSizes& s, const DenseEnd& end)
      : columns(s.out, s.rows * s.out), function(end.activation), low_bias(end.low_bias) {}
  StoreOutput of(const Launch& on, const DenseEnd& end) const {
    StoreOutput out = *this;
    if (end.has_bias) out.bias = on.inputs[2];
    out.y = on.output<T>(0);
    return out;
  }
  __device__ void store(std::int64_t index, std::int64_t column, float sum) const {
    if (bias != nullptr) {
      sum = __fadd_rn(sum, low_bias ? to_float(static_cast<const BFloat16*>(bias)[column])
                                    : static_cast<const float*>(bias)[column]);
    }
    y[index] = from_float<T>(function(sum));
  }
  __device__ void operator()(std::int64_t index, const float (&sums)[1]) const {
    store(index, columns.remainder(index), sums[0]);
  }
};

template <typename Y>
struct StoreProduct {
  Y* y;
  __device__ void store(std::int64_t index, std::int64_t, float sum) const { y[index] = from_float<Y>(sum); }
  __device__ void operator()(std::int64_t index, const float (&sums)[1]) const { store(index, 0, sums[0]); }
};

// ---- Products by tiles -----------------------------------------------------------------------------

template <typename T, bool kIsTransposed>
struct Matrix {
  static constexpr bool kTransposed = kIsTransposed;  // in memory it is (columns, rows)
  const T* x;
  std::int64_t stride;
  __device__ float at(std::int64_t row, std::int64_t column) const {
    return to_float(kTransposed ? x[column * stride + row] : x[row * stride + column]);
  }
};

constexpr int kSide = 16;   // threads of a tile, each way
constexpr int kDepth = 16;  // of the part of A and B that a block has at once

// How a product is cut: into tiles, and along the depth into pieces where there are few tiles, which are added afterwards.
struct Tiles {
  std::int64_t rows, columns, depth;
  int each = 4;  // outputs of a thread, each way
  std::int64_t count = 0, of_columns = 0;
  std::int64_t pieces = 1, depth_of_piece;

  Tiles(std::int64_t rows, std::int64_t columns, std::int64_t depth)
      : rows(rows), columns(columns), depth(depth), depth_of_piece(depth) {
    constexpr std::int64_t kEnoughBlocks = 264, kLeastDepth = 256;
    if (tiles_of(4) < kEnoughBlocks / 8) each = 1;
    count = tiles_of(each);
    of_columns = along(columns, each);
    if (count == 0 || depth < 2 * kLeastDepth) return;
    pieces = std::clamp<std::int64_t>(kEnoughBlocks / count, 1, depth / kLeastDepth);
    depth_of_piece = (depth / pieces + kDepth) / kDepth * kDepth;
    pieces = (depth + depth_of_piece - 1) / depth_of_piece;
  }
  std::int64_t elements() const { return rows * columns; }
  std::size_t workspace_bytes() const {
    return pieces == 1 ? 0 : static_cast<std::size_t>(pieces * elements()) * sizeof(float);
  }

 private:
  static std::int64_t along(std::int64_t extent, int each) { return (extent + kSide * each - 1) / (kSide * each); }
  std::int64_t tiles_of(int each) const { return along(rows, each) * along(columns, each); }
};

// The parts of A and B that belong to a tile lie in shared memory by their place along the depth.
template <int kEach>
struct TileMemory {
  static constexpr int kTile = kSide * kEach;
  float part[kDepth][kTile + 1];

  // Neighbours in memory are loaded by neighbouring threads. kAlong: those lie along the depth. `at(i, k)` is the element
  // of row (or column) i of the tile, k of the depth.
  template <bool kAlong, typename At>
  __device__ void load(const At& at) {
#pragma unroll
    for (int e = 0; e < kEach; ++e) {
      const int number = static_cast<int>(threadIdx.x) + e * kThreads;
      const int i = kAlong ? number / kDepth : number % kTile, k = kAlong ? number % kDepth : number / kTile;
      part[k][i] = at(i, k);
    }
  }
};

template <int kEach, typename A, typename B, typename End>
__global__ void __launch_bounds__(kThreads) multiply(const __grid_constant__ Tiles tiles, A a, B b, End end) {
  constexpr int kTile = kSide * kEach;
  __shared__ TileMemory<kEach> left, right;
  const int tx = static_cast<int>(threadIdx.x) % kSide, ty = static_cast<int>(threadIdx.x) / kSide;
  const std::int64_t piece = blockIdx.x / tiles.count, tile = blockIdx.x - piece * tiles.count;
  const std::int64_t row = tile / tiles.of_columns * kTile, column = tile % tiles.of_columns * kTile;
  const std::int64_t begin = piece * tiles.depth_of_piece, full = begin + tiles.depth_of_piece;
  const std::int64_t until = full < tiles.depth ? full : tiles.depth;
  float sum[kEach][kEach] = {};
  for (std::int64_t depth = begin; depth < until; depth += kDepth) {
    left.template load<!A::kTransposed>([&](int i, int k) {
      return row + i < tiles.rows && depth + k < until ? a.at(row + i, depth + k) : 0.0f;
    });
    right.template load<B::kTransposed>([&](int i, int k) {
      return column + i < tiles.columns && depth + k < until ? b.at(depth + k, column + i) : 0.0f;
    });
    __syncthreads();
#pragma unroll
    for (int k = 0; k < kDepth; ++k) {
#pragma unroll
      for (int i = 0; i < kEach; ++i) {
#pragma unroll
        for (int j = 0; j < kEach; ++j) {
          sum[i][j] = fmaf(left.part[k][ty + i * kSide], right.part[k][tx + j * kSide], sum[i][j]);
        }
      }
    }
    __syncthreads();
  }
#pragma unroll
  for (int i = 0; i < kEach; ++i) {
#pragma unroll
    for (int j = 0; j < kEach; ++j) {
      const std::int64_t r = row + ty + i * kSide, c = column + tx + j * kSide;
      if (r < tiles.rows && c < tiles.columns) end(piece, r * tiles.columns + c, c, sum[i][j]);
    }
  }
}

// Sums of a piece: into the workspace, (pieces, rows, columns).
struct KeepPiece {
  float* to;
  std::int64_t elements;
  __device__ void operator()(std::int64_t piece, std::int64_t index, std::int64_t, float sum) const {
    to[piece * elements + index] = sum;
  }
};
template <typename Finish>
struct Last {
  Finish finish;
  __device__ void operator()(std::int64_t, std::int64_t index, std::int64_t column, float sum) const {
    finish.store(index, column, sum);
  }
};

template <typename A, typename B, typename End>
void launch_tiles(const Launch& on, const Tiles& tiles, const A& a, const B& b, const End& end) {
  const dim3 blocks(static_cast<unsigned>(tiles.count * tiles.pieces));
  if (tiles.each == 1) return launch(on, blocks, kThreads, multiply<1, A, B, End>, tiles, a, b, end);
  launch(on, blocks, kThreads, multiply<4, A, B, End>, tiles, a, b, end);
}

template <typename A, typename B, typename Finish>
void launch_product(const Launch& on, const Tiles& tiles, const A& a, const B& b, const Finish& finish) {
  if (tiles.pieces == 1) return launch_tiles(on, tiles, a, b, Last<Finish>{finish});
  auto* pieces = static_cast<float*>(on.workspace);
  launch_tiles(on, tiles, a, b, KeepPiece{pieces, tiles.elements()});
  const MatrixValues<float> values{pieces, tiles.elements()};
  launch_column_sum<1>(on, ColumnSum(1, tiles.pieces, tiles.elements(), MatrixValues<float>::kWidest, 1), nullptr, values,
                       finish);
}

// ---- Products with vectors -------------------------------------------------------------------------

// y[row] = sum over k of a[row, k] b[k]. A row has `lanes` lanes of a warp; lane l has the packs l, l + lanes, ...
template <bool kFast, typename T, typename Finish>
__global__ void __launch_bounds__(kThreads)
    dot_rows(std::int64_t rows, std::int64_t depth, int lanes, const T* a, const T* b, Finish finish) {
  constexpr int N = kPackOf<T>;
  const std::int64_t thread = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  const std::int64_t row = thread / lanes, lane = thread - row * lanes;
  float sum[N] = {};
  if (row < rows) {
    const T* from = a + row * depth;
#pragma unroll 4
    for (std::int64_t k = lane * N; k < depth; k += lanes * N) {
      T x[N], y[N];
      if constexpr (kFast) {
        load_pack(from + k, x);
        load_pack(b + k, y);
      } else {
        const int n = depth - k < N ? static_cast<int>(depth - k) : N;
        load_elements(from + k, n, false, x);
        load_elements(b + k, n, false, y);
      }
#pragma unroll
      for (int e = 0; e < N; ++e) sum[e] = fmaf(to_float(x[e]), to_float(y[e]), sum[e]);
    }
  }
#pragma unroll
  for (int half = N / 2; half > 0; half /= 2) {
#pragma unroll
    for (int e = 0; e < half; ++e) sum[e] += sum[e + half];
  }
  float total = sum[0];
  for (int step = lanes / 2; step > 0; step /= 2) total += __shfl_xor_sync(0xffffffffu, total, step);
  if (row < rows && lane == 0) finish.store(row, 0, total);
}

template <typename T, typename Finish>
void launch_dot_rows(const Launch& on, std::int64_t rows, std::int64_t depth, const T* a, const T* b,
                     const Finish& finish) {
  constexpr std::int64_t N = kPackOf<T>;
  int lanes = 1;
  while (lanes < kWarp && lanes * N < depth) lanes *= 2;
  const bool fast = depth % N == 0 && is_aligned(a, 16) && is_aligned(b, 16);
  const auto kernel = fast ? dot_rows<true, T, Finish> : dot_rows<false, T, Finish>;
  launch(on, blocks_for(rows * lanes, kThreads), kThreads, kernel, rows, depth, lanes, a, b, finish);
}

// Rows, each times its weight: for sums over the rows.
template <typename T>
struct WeightedRows {
  static constexpr int kWidest = kPackOf<T>;
  const T *x, *weight;
  std::int64_t columns;

  bool wide() const { return is_aligned(x, 16); }
  template <int N>
  __device__ void load(std::int64_t row, std::int64_t column, float (&v)[1][N]) const {
    T raw[N];
    load_pack(x + row * columns + column, raw);
    const float factor = to_float(weight[row]);
#pragma unroll
    for (int k = 0; k < N; ++k) v[0][k] = __fmul_rn(to_float(raw[k]), factor);
  }
};

struct Multiply {
  __device__ float operator()(float a, float b) const { return __fmul_rn(a, b); }
};

// y (rows, columns) = a (rows) b (columns).
template <typename T, typename Y>
struct OuterProduct {
  std::int64_t count;
  Repeated<T> a, b;
  OuterProduct(std::int64_t rows, std::int64_t columns)
      : count(rows * columns),
        a(repeated<T>(nullptr, columns, rows, count)),
        b(repeated<T>(nullptr, 1, columns, count)) {}
  void launch(const Launch& on, const T* left, const T* right, Y* y) const {
    launch_elementwise(on, count, y, Multiply{}, a.of(left), b.of(right));
  }
};

// ---- The three products ----------------------------------------------------------------------------

template <typename T>
Kernel forward(const DenseSizes& s, const DenseEnd& end) {
  const StoreOutput<T> store(s, end);
  if (s.out == 1) {
    return {"dense_cuda (rows)", [=](const Launch& on) {
              launch_dot_rows(on, s.rows, s.in, on.input<T>(0), on.input<T>(1), store.of(on, end));
            }};
  }
  if (s.rows == 1) {
    const ColumnSum sum(1, s.in, s.out, WeightedRows<T>::kWidest);
    return {"dense_cuda (one row)",
            [=](const Launch& on) {
              launch_column_sum<1>(on, sum, on.workspace, WeightedRows<T>{on.input<T>(1), on.input<T>(0), s.out},
                                   store.of(on, end));
            },
            sum.workspace_bytes(1)};
  }
  const Tiles tiles(s.rows, s.out, s.in);
  return {"dense_cuda (direct)",
          [=](const Launch& on) {
            launch_product(on, tiles, Matrix<T, false>{on.input<T>(0), s.in}, Matrix<T, false>{on.input<T>(1), s.out},
                           store.of(on, end));
          },
          tiles.workspace_bytes()};
}

template <typename T>
Kernel backward_data(const DenseSizes& s) {
  if (s.out == 1) {
    const OuterProduct<T, T> product(s.rows, s.in);
    return {"dense_backward_data_cuda (outer product)",
            [=](const Launch& on) { product.launch(on, on.input<T>(0), on.input<T>(1), on.output<T>(0)); }};
  }
  if (s.in == 1) {
    return {"dense_backward_data_cuda (rows)", [=](const Launch& on) {
              launch_dot_rows(on, s.rows, s.out, on.input<T>(0), on.input<T>(1), StoreProduct<T>{on.output<T>(0)});
            }};
  }
  if (s.rows == 1) {
    return {"dense_backward_data_cuda (one row)", [=](const Launch& on) {
              launch_dot_rows(on, s.in, s.out, on.input<T>(1), on.input<T>(0), StoreProduct<T>{on.output<T>(0)});
            }};
  }
  const Tiles tiles(s.rows, s.in, s.out);
  return {"dense_backward_data_cuda (direct)",
          [=](const Launch& on) {
            launch_product(on, tiles, Matrix<T, false>{on.input<T>(0), s.out}, Matrix<T, true>{on.input<T>(1), s.out},
                           StoreProduct<T>{on.output<T>(0)});
          },
          tiles.workspace_bytes()};
}

template <typename T>
Kernel backward_weights(const DenseSizes& s) {
  if (s.rows == 1) {
    const OuterProduct<T, float> product(s.in, s.out);
    return {"dense_backward_weights_cuda (outer product)",
            [=](const Launch& on) { product.launch(on, on.input<T>(0), on.input<T>(1), on.output<float>(0)); }};
  }
  if (s.out == 1) {
    const ColumnSum sum(1, s.rows, s.in, WeightedRows<T>::kWidest);
    return {"dense_backward_weights_cuda (one output)",
            [=](const Launch& on) {
              launch_column_sum<1>(on, sum, on.workspace, WeightedRows<T>{on.input<T>(0), on.input<T>(1), s.in},
                                   StoreSum<float>{on.output<float>(0)});
            },
            sum.workspace_bytes(1)};
  }
  if (s.in == 1) {
    const ColumnSum sum(1, s.rows, s.out, WeightedRows<T>::kWidest);
    return {"dense_backward_weights_cuda (one input)",
            [=](const Launch& on) {
              launch_column_sum<1>(on, sum, on.workspace, WeightedRows<T>{on.input<T>(1), on.input<T>(0), s.out},
                                   StoreSum<float>{on.output<float>(0)});
            },
            sum.workspace_bytes(1)};
  }
  const Tiles tiles(s.in, s.out, s.rows);
  return {"dense_backward_weights_cuda (direct)",
          [=](const Launch& on) {
            launch_product(on, tiles, Matrix<T, true>{on.input<T>(0), s.in}, Matrix<T, false>{on.input<T>(1), s.out},
                           StoreProduct<float>{on.output<float>(0)});
          },
          tiles.workspace_bytes()};
}

struct EndOf {
  cuda_activation::Chosen function;
  __device__ float operator()(float y) const { return function(y); }
  __device__ float operator()(float y, float bias) const { return function(__fadd_rn(y, bias)); }
};

struct Same {
  __device__ float operator()(float x) const { return x; }
};

// Body of T = float or BFloat16.
template <typename Body>
void for_type(DType dtype, const Body& body) {
  if (dtype == DType::kBF16) {
    body(BFloat16{});
  } else {
    body(float{});
  }
}

template <typename T>
ColumnSum bias_gradient_sum(const DenseSizes& s) {
  return ColumnSum(1, s.rows, s.out, MatrixValues<T>::kWidest);
}

}  // namespace

DenseSizes dense_sizes(const KernelRequest& request) {
  const TensorType& first = request.inputs[0];
  const Shape& second = request.inputs[1].shape;
  const std::int64_t rows = first.shape.elements(0, first.shape.rank() - 1);
  if (request.op.name() == "dense_backward_weights") return {first.dtype, rows, first.shape[-1], second[-1]};
  return {first.dtype, rows, second[0], second[1]};
}

DenseEnd dense_end(const KernelRequest& request) {
  const bool has_bias = request.inputs.size() == 3;
  return {has_bias, has_bias && request.inputs[2].dtype == DType::kBF16, request.op_as<DenseOp>().activation()};
}

Kernel dense_direct_cuda(const KernelRequest& request) {
  return for_cuda_floating(request, request.inputs[0].dtype, [&]<typename T>(T) {
    return forward<T>(dense_sizes(request), dense_end(request));
  });
}

Kernel dense_backward_data_direct_cuda(const KernelRequest& request) {
  return for_cuda_floating(request, request.inputs[0].dtype,
                           [&]<typename T>(T) { return backward_data<T>(dense_sizes(request)); });
}

// The gradient of the bias comes after that of the weights.
Kernel dense_backward_weights_direct_cuda(const KernelRequest& request) {
  const DenseSizes sizes = dense_sizes(request);
  Kernel kernel = for_cuda_floating(request, request.inputs[0].dtype,
                                    [&]<typename T>(T) { return backward_weights<T>(sizes); });
  if (!request.op_as<DenseBackwardWeightsOp>().bias()) return kernel;
  kernel.name += ", bias";
  kernel.workspace_bytes = std::max(kernel.workspace_bytes, bias_gradient_workspace(sizes));
  kernel.run = [sizes, product = std::move(kernel.run)](const Launch& on) {
    product(on);
    launch_bias_gradient(on, sizes, on.inputs[1], on.outputs[1], on.workspace);
  };
  return kernel;
}

void launch_dense_end(const Launch& on, const DenseSizes& s, const DenseEnd& end, const void* bias, void* y) {
  const std::int64_t count = s.rows * s.out;
  const EndOf function{cuda_activation::Chosen(end.activation)};
  for_type(s.dtype, [&]<typename T>(T) {
    T* to = static_cast<T*>(y);
    if (!end.has_bias) return launch_elementwise(on, count, to, function, Full<T>{to});
    if (end.low_bias) {
      return launch_elementwise(on, count, to, function, Full<T>{to},
                                repeated(static_cast<const BFloat16*>(bias), 1, s.out, count));
    }
    launch_elementwise(on, count, to, function, Full<T>{to}, repeated(static_cast<const float*>(bias), 1, s.out, count));
  });
}

void launch_low_bias(const Launch& on, const DenseSizes& s, const void* bias, void* to) {
  launch_elementwise(on, s.out, static_cast<BFloat16*>(to), Same{}, Full<float>{static_cast<const float*>(bias)});
}

std::size_t bias_gradient_workspace(const DenseSizes& s) {
  std::size_t bytes = 0;
  for_type(s.dtype, [&]<typename T>(T) { bytes = bias_gradient_sum<T>(s).workspace_bytes(1); });
  return bytes;
}

void launch_bias_gradient(const Launch& on, const DenseSizes& s, const void* dy, void* db, void* workspace) {
  for_type(s.dtype, [&]<typename T>(T) {
    launch_column_sum<1>(on, bias_gradient_sum<T>(s), workspace, MatrixValues<T>{static_cast<const T*>(dy), s.out},
                         StoreSum<float>{static_cast<float*>(db)});
  });
}

void register_dense_direct_cuda(KernelRegistry& registry) {
  registry.add("dense", DeviceKind::kCuda, {dense_direct_cuda, nullptr});
  registry.add("dense_backward_data", DeviceKind::kCuda, {dense_backward_data_direct_cuda, nullptr});
  registry.add("dense_backward_weights", DeviceKind::kCuda, {dense_backward_weights_direct_cuda, nullptr});
}

}  // namespace lockstep
