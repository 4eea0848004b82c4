// CUDA kernels of layer normalisation. A row is worked on by a group of threads that hold it in their registers, so it is read
// once, and its variance is that of the distances from its mean; where it is too long for that, it is read again from a
// cache.
//
// Backward, a block goes through every so many-th row, and its threads, which have the same columns in all of them, add up
// the gradients of scale and offset in registers. A second launch adds up those of the blocks.
#include <type_traits>

#include "core/kernel/cuda_rows.h"
#include "ops/layer_norm/layer_norm.h"
#include "ops/reduce/column_sum_cuda.h"

namespace lockstep {
namespace {

constexpr int kMostThreads = 512;
constexpr int kInFlight = 2;                  // packs of a thread, where a row is not held
constexpr std::int64_t kMostBlocks = 132 * 2;  // backward: each has results for every column

// Packs of a row that a thread holds: forward 32 registers of them, backward 16 elements of dy and of x; but 32 bytes of each
// where that suffices, as then there are registers for the next row too.
template <typename T, int N>
constexpr int kHeld = N == 1 ? 8 : 32 * 4 / static_cast<int>(sizeof(T)) / N;
template <int N>
constexpr int kHeldBackward = N == 1 ? 8 : 16 / N;
template <typename T, int N>
constexpr int kHeldTwice = N == 1 ? 8 : 32 / static_cast<int>(sizeof(T)) / N;

__device__ inline float inverse_deviation(float squares, float count, float epsilon) {
  return 1.0f / sqrtf(squares / count + epsilon);
}

// What is known of a row.
struct RowStatistics {
  float mean, inverse;
};

// scale and offset, and where memory is aligned.
struct Parameters {
  const float *scale, *offset;
  float epsilon;
  bool wide_data, wide_parameters;
};

// ---- Forward -------------------------------------------------------------------------------------

template <typename T, int N>
__device__ inline void normalise(const Neighbours<T, N>& x, const RowStatistics& row, const Parameters& p, std::int64_t column, T* y) {
  float scale[N], offset[N];
  load_elements(p.scale + column, N, p.wide_parameters, scale);
  load_elements(p.offset + column, N, p.wide_parameters, offset);
  T out[N];
#pragma unroll
  for (int k = 0; k < N; ++k) {
    out[k] = from_float<T>(fmaf((to_float(x[k]) - row.mean) * row.inverse, scale[k], offset[k]));
  }
  store_pack_at(y, column, p.wide_data, out);
}

template <typename T, int N, int P>
__global__ void __launch_bounds__(kMostThreads) layer_norm_held(RowGrid grid, Parameters p, const T* x, T* y) {
  const RowThread at(grid, blockIdx.x);
  const T* from = x + at.row * grid.length;
  Neighbours<T, N> v[P];
  at.for_packs<P, N>([&](int i, std::int64_t column) { v[i].load(from + column, N, p.wide_data); });
  const auto count = static_cast<float>(grid.length);
  float sum = 0.0f, squares = 0.0f;
  at.for_packs<P, N>([&](int i, std::int64_t) {
#pragma unroll
    for (int k = 0; k < N; ++k) sum += to_float(v[i][k]);
  });
  RowStatistics row;
  row.mean = at.sum(sum) / count;
  at.for_packs<P, N>([&](int i, std::int64_t) {
#pragma unroll
    for (int k = 0; k < N; ++k) {
      const float distance = to_float(v[i][k]) - row.mean;
      squares = fmaf(distance, distance, squares);
    }
  });
  row.inverse = inverse_deviation(at.sum(squares), count, p.epsilon);
  at.for_packs<P, N>([&](int i, std::int64_t column) { normalise(v[i], row, p, column, y + at.row * grid.length); });
}

// Goes through a row in memory: body(pack's elements, first column).
template <int N, typename T, typename Body>
__device__ inline void for_row(const RowThread& at, const T* from, bool wide, const Body& body) {
  for (std::int64_t base = 0; base < at.packs; base += std::int64_t{at.threads} * kInFlight) {
    Neighbours<T, N> v[kInFlight];
    at.for_packs<kInFlight, N>(base, [&](int i, std::int64_t column) { v[i].load(from + column, N, wide); });
    at.for_packs<kInFlight, N>(base, [&](int i, std::int64_t column) { body(v[i], column); });
  }
}

template <typename T, int N>
__device__ inline RowStatistics statistics_of(const RowThread& at, const RowGrid& grid, const T* from, const Parameters& p) {
  const auto count = static_cast<float>(grid.length);
  float sum = 0.0f, squares = 0.0f;
  for_row<N>(at, from, p.wide_data, [&](const Neighbours<T, N>& v, std::int64_t) {
#pragma unroll
    for (int k = 0; k < N; ++k) sum += to_float(v[k]);
  });
  RowStatistics row;
  row.mean = at.sum(sum) / count;
  for_row<N>(at, from, p.wide_data, [&](const Neighbours<T, N>& v, std::int64_t) {
#pragma unroll
    for (int k = 0; k < N; ++k) {
      const float distance = to_float(v[k]) - row.mean;
      squares = fmaf(distance, distance, squares);
    }
  });
  row.inverse = inverse_deviation(at.sum(squares), count, p.epsilon);
  return row;
}

template <typename T, int N>
__global__ void __launch_bounds__(kMostThreads) layer_norm_long(RowGrid grid, Parameters p, const T* x, T* y) {
  const RowThread at(grid, blockIdx.x);
  const T* from = x + at.row * grid.length;
  const RowStatistics row = statistics_of<T, N>(at, grid, from, p);
  for_row<N>(at, from, p.wide_data, [&](const Neighbours<T, N>& v, std::int64_t column) {
    normalise(v, row, p, column, y + at.row * grid.length);
  });
}

// ---- Backward ------------------------------------------------------------------------------------
//
// With g = dy * scale and h = (x - mean) * inverse:
//   dx = inverse * (g - mean of g - h * mean of (g * h))

// The sums of a row, in the order that sum() takes.
enum Sums { kSquares, kG, kGDistance, kSums };

template <typename T, int N>
__device__ inline void add_sums(const Neighbours<T, N>& dy, const Neighbours<T, N>& x, const float (&scale)[N], float mean, float (&sums)[kSums]) {
#pragma unroll
  for (int k = 0; k < N; ++k) {
    const float distance = to_float(x[k]) - mean, g = to_float(dy[k]) * scale[k];
    sums[kSquares] = fmaf(distance, distance, sums[kSquares]);
    sums[kG] += g;
    sums[kGDistance] = fmaf(g, distance, sums[kGDistance]);
  }
}

// What the gradient of a row is computed with.
struct RowGradient : RowStatistics {
  float mean_g, mean_gh;

  __device__ RowGradient(float row_mean, const float (&sums)[kSums], float count, float epsilon) {
    mean = row_mean;
    inverse = inverse_deviation(sums[kSquares], count, epsilon);
    mean_g = sums[kG] / count;
    mean_gh = sums[kGDistance] * inverse / count;
  }
  __device__ float h(float x) const { return (x - mean) * inverse; }
  __device__ float dx(float dy, float h, float scale) const {
    return inverse * (fmaf(dy, scale, -mean_g) - h * mean_gh);
  }
};

// Where the gradients of scale and offset go: (blocks, 2, length) of the workspace, or where there is one block, to the
// outputs.
struct ColumnResults {
  float *dscale, *doffset, *pieces;

  __device__ void put(std::int64_t length, std::int64_t column, float scale, float offset) const {
    if (pieces == nullptr) {
      dscale[column] = scale;
      doffset[column] = offset;
    } else {
      float* to = pieces + std::int64_t{blockIdx.x} * 2 * length + column;
      to[0] = scale;
      to[length] = offset;
    }
  }
};

// Adds up what the groups of a block have for the N columns of a pack; the threads of the first group get it.
template <int N>
__device__ inline void add_groups(const RowThread& at, float (&dscale)[N], float (&doffset)[N]) {
  __shared__ float partial[2 * N][kMostThreads];
  const int thread = static_cast<int>(threadIdx.x), block = static_cast<int>(blockDim.x);
  __syncthreads();  // the last call has been read
#pragma unroll
  for (int k = 0; k < N; ++k) {
    partial[k][thread] = dscale[k];
    partial[N + k][thread] = doffset[k];
  }
  for (int half = block / 2; half >= at.threads; half /= 2) {
    __syncthreads();
    if (thread >= half) continue;
#pragma unroll
    for (int k = 0; k < 2 * N; ++k) partial[k][thread] += partial[k][thread + half];
  }
#pragma unroll
  for (int k = 0; k < N; ++k) {
    dscale[k] = partial[k][thread];
    doffset[k] = partial[N + k][thread];
  }
}

// What a thread holds of a row.
template <typename T, int N, int P>
struct HeldGradient {
  Neighbours<T, N> dy[P], x[P];

  __device__ void load(const RowThread& at, const RowGrid& grid, bool wide, const T* from_dy, const T* from_x) {
    const std::int64_t first = at.row * grid.length;
    at.for_packs<P, N>([&](int i, std::int64_t column) {
      dy[i].load(from_dy + first + column, N, wide);
      x[i].load(from_x + first + column, N, wide);
    });
  }
};

// Where there are registers for it, the rows that come next are loaded before those at hand are worked on: a block's warps are
// in step, so that between its sums no load would be in flight otherwise.
template <typename T, int N, int P>
__global__ void __launch_bounds__(kMostThreads)
    layer_norm_backward_held(RowGrid grid, Parameters p, const T* dy, const T* x, T* dx, ColumnResults results) {
  const auto count = static_cast<float>(grid.length);
  const std::int64_t rows_of_block = blockDim.x >> grid.shift;
  float scale[P][N], dscale[P][N] = {}, doffset[P][N] = {};
  constexpr bool kAhead = P <= kHeldTwice<T, N>;
  RowThread columns(grid, blockIdx.x);
  HeldGradient<T, N, P> held, next;
  if constexpr (kAhead) next.load(columns, grid, p.wide_data, dy, x);
  columns.packs = grid.packs;  // also where the block has fewer rows than groups
  columns.for_packs<P, N>([&](int i, std::int64_t column) {
    load_elements(p.scale + column, N, p.wide_parameters, scale[i]);
  });
  for (std::int64_t block = blockIdx.x; block * rows_of_block < grid.rows; block += gridDim.x) {
    const RowThread at(grid, block);
    if constexpr (kAhead) {
      held = next;
      next.load(RowThread(grid, block + gridDim.x), grid, p.wide_data, dy, x);
    } else {
      held.load(at, grid, p.wide_data, dy, x);
    }
    float sum = 0.0f, sums[kSums] = {};
    at.for_packs<P, N>([&](int i, std::int64_t) {
#pragma unroll
      for (int k = 0; k < N; ++k) sum += to_float(held.x[i][k]);
    });
    const float mean = at.sum(sum) / count;
    at.for_packs<P, N>([&](int i, std::int64_t) { add_sums(held.dy[i], held.x[i], scale[i], mean, sums); });
    at.sum(sums);
    const RowGradient row(mean, sums, count, p.epsilon);
    at.for_packs<P, N>([&](int i, std::int64_t column) {
      T out[N];
#pragma unroll
      for (int k = 0; k < N; ++k) {
        const float dy_k = to_float(held.dy[i][k]), h = row.h(to_float(held.x[i][k]));
        out[k] = from_float<T>(row.dx(dy_k, h, scale[i][k]));
        dscale[i][k] = fmaf(dy_k, h, dscale[i][k]);
        doffset[i][k] += dy_k;
      }
      store_pack_at(dx + at.row * grid.length, column, p.wide_data, out);
    });
  }
#pragma unroll
  for (int i = 0; i < P; ++i) {
    if (columns.threads < static_cast<int>(blockDim.x)) add_groups(columns, dscale[i], doffset[i]);
    const std::int64_t pack = columns.thread + static_cast<std::int64_t>(i) * columns.threads;
    if (static_cast<int>(threadIdx.x) >= columns.threads || pack >= grid.packs) continue;
#pragma unroll
    for (int k = 0; k < N; ++k) results.put(grid.length, pack * N + k, dscale[i][k], doffset[i][k]);
  }
}

// dx of long rows, and the statistics of the rows for their columns.
template <typename T, int N>
__global__ void __launch_bounds__(kMostThreads)
    layer_norm_backward_long(RowGrid grid, Parameters p, const T* dy, const T* x, T* dx, RowStatistics* of_rows) {
  const RowThread at(grid, blockIdx.x);
  const std::int64_t first = at.row * grid.length;
  const auto count = static_cast<float>(grid.length);
  float sum = 0.0f, sums[kSums] = {};
  for_row<N>(at, x + first, p.wide_data, [&](const Neighbours<T, N>& v, std::int64_t) {
#pragma unroll
    for (int k = 0; k < N; ++k) sum += to_float(v[k]);
  });
  const float mean = at.sum(sum) / count;
  const auto load = [&](std::int64_t column, Neighbours<T, N>& d, float(&scale)[N]) {
    d.load(dy + first + column, N, p.wide_data);
    load_elements(p.scale + column, N, p.wide_parameters, scale);
  };
  for_row<N>(at, x + first, p.wide_data, [&](const Neighbours<T, N>& v, std::int64_t column) {
    Neighbours<T, N> d;
    float scale[N];
    load(column, d, scale);
    add_sums(d, v, scale, mean, sums);
  });
  at.sum(sums);
  const RowGradient row(mean, sums, count, p.epsilon);
  if (at.thread == 0 && at.packs > 0) of_rows[at.row] = row;
  for_row<N>(at, x + first, p.wide_data, [&](const Neighbours<T, N>& v, std::int64_t column) {
    Neighbours<T, N> d;
    T out[N];
    float scale[N];
    load(column, d, scale);
#pragma unroll
    for (int k = 0; k < N; ++k) out[k] = from_float<T>(row.dx(to_float(d[k]), row.h(to_float(v[k])), scale[k]));
    store_pack_at(dx + first, column, p.wide_data, out);
  });
}

// dy * h and dy.
template <typename T>
struct ColumnValues {
  static constexpr int kWidest = kPackOf<T>;
  const T *dy, *x;
  std::int64_t length;
  const RowStatistics* rows;

  bool wide() const { return is_aligned(dy, 16) && is_aligned(x, 16); }
  template <int N>
  __device__ void load(std::int64_t row, std::int64_t column, float (&v)[2][N]) const {
    T d[N], values[N];
    load_elements(dy + row * length + column, N, true, d);
    load_elements(x + row * length + column, N, true, values);
    const RowStatistics of_row = rows[row];
#pragma unroll
    for (int k = 0; k < N; ++k) {
      v[1][k] = to_float(d[k]);
      v[0][k] = v[1][k] * ((to_float(values[k]) - of_row.mean) * of_row.inverse);
    }
  }
};

struct StoreColumns {
  float *dscale, *doffset;
  __device__ void operator()(std::int64_t column, const float (&sums)[2]) const {
    dscale[column] = sums[0];
    doffset[column] = sums[1];
  }
};

// ---- Launches ------------------------------------------------------------------------------------

template <typename T, int N>
Parameters parameters_of(const float* scale, const float* offset, double epsilon, std::initializer_list<const T*> data) {
  constexpr std::size_t kParameterBytes = kAccess<float, N>, kDataBytes = kAccess<T, N>;
  Parameters p = {scale, offset, static_cast<float>(epsilon), true,
                  is_aligned(scale, kParameterBytes) && is_aligned(offset, kParameterBytes)};
  for (const T* memory : data) p.wide_data = p.wide_data && is_aligned(memory, kDataBytes);
  return p;
}

template <typename T, int N>
Kernel make_forward(std::int64_t rows, std::int64_t length, double epsilon) {
  constexpr int P = kHeld<T, N>;
  const RowGroups groups(rows, length, kPackOf<T>, P, kMostThreads);
  const auto kernel = groups.of_thread == 1       ? layer_norm_held<T, N, 1>
                      : groups.of_thread <= P / 2 ? layer_norm_held<T, N, P / 2>  // more threads have room
                      : groups.of_thread <= P     ? layer_norm_held<T, N, P>
                                                  : layer_norm_long<T, N>;
  return {"layer_norm_cuda", [=](const Launch& on) {
            const T* x = on.input<T>(0);
            T* y = on.output<T>(0);
            launch(on, groups.blocks(), groups.block, kernel, groups.grid(),
                   parameters_of<T, N>(on.input<float>(1), on.input<float>(2), epsilon, {x, y}), x, y);
          }};
}

template <typename T, int N, int P>
Kernel make_backward_held(const RowGroups& groups, double epsilon) {
  constexpr std::int64_t kChunksOfBlock = 4;  // that are worth a block of their own
  const std::int64_t length = groups.length;
  const auto blocks = std::clamp<std::int64_t>((groups.chunks() + kChunksOfBlock - 1) / kChunksOfBlock, 1, kMostBlocks);
  const auto kernel = layer_norm_backward_held<T, N, P>;
  using Pieces = column_sum::Pieces<2>;
  const ColumnSum sum(1, blocks, length, Pieces::kWidest, 1);
  auto run = [=](const Launch& on) {
    const T *dy = on.input<T>(0), *x = on.input<T>(1);
    const float* scale = on.input<float>(2);
    T* dx = on.output<T>(0);
    const ColumnResults results{on.output<float>(1), on.output<float>(2),
                                blocks == 1 ? nullptr : static_cast<float*>(on.workspace)};
    launch(on, dim3(static_cast<unsigned>(blocks)), groups.block, kernel, groups.grid(),
           parameters_of<T, N>(scale, scale, epsilon, {dy, x, dx}), dy, x, dx, results);
    if (blocks == 1) return;
    launch_column_sum<2>(on, sum, nullptr, Pieces{results.pieces, length}, StoreColumns{results.dscale, results.doffset});
  };
  return {"layer_norm_backward_cuda", run,
          blocks == 1 ? 0 : static_cast<std::size_t>(blocks * 2 * length) * sizeof(float)};
}

template <typename T, int N>
Kernel make_backward_long(const RowGroups& groups, double epsilon) {
  const std::int64_t length = groups.length;
  const ColumnSum sum(1, groups.rows, length, ColumnValues<T>::kWidest);
  const std::size_t sum_bytes = (sum.workspace_bytes(2) + kMemoryAlignment - 1) / kMemoryAlignment * kMemoryAlignment;
  auto run = [=](const Launch& on) {
    const T *dy = on.input<T>(0), *x = on.input<T>(1);
    const float* scale = on.input<float>(2);
    T* dx = on.output<T>(0);
    auto* of_rows = reinterpret_cast<RowStatistics*>(static_cast<std::byte*>(on.workspace) + sum_bytes);
    launch(on, groups.blocks(), groups.block, layer_norm_backward_long<T, N>, groups.grid(),
           parameters_of<T, N>(scale, scale, epsilon, {dy, x, dx}), dy, x, dx, of_rows);
    launch_column_sum<2>(on, sum, on.workspace, ColumnValues<T>{dy, x, length, of_rows},
                         StoreColumns{on.output<float>(1), on.output<float>(2)});
  };
  return {"layer_norm_backward_cuda (long rows)", run,
          sum_bytes + static_cast<std::size_t>(groups.rows) * sizeof(RowStatistics)};
}

template <typename T, int N>
Kernel make_backward(std::int64_t rows, std::int64_t length, double epsilon) {
  RowGroups groups(rows, length, kPackOf<T>, kHeldTwice<T, N>, kMostThreads);
  if (groups.of_thread > kHeldTwice<T, N>) groups = RowGroups(rows, length, kPackOf<T>, kHeldBackward<N>, kMostThreads);
  if (groups.of_thread > kHeldBackward<N>) return make_backward_long<T, N>(groups, epsilon);
  // Each block leaves results for all columns, so the larger the better; but where one takes all registers, nothing goes on
  // while it waits in a barrier.
  groups.block = groups.of_thread == 1 ? kMostThreads : std::max(kMostThreads / 2, groups.threads());
  if (groups.of_thread == 1) return make_backward_held<T, N, 1>(groups, epsilon);
  if (groups.of_thread <= kHeldTwice<T, N>) return make_backward_held<T, N, kHeldTwice<T, N>>(groups, epsilon);
  return make_backward_held<T, N, kHeldBackward<N>>(groups, epsilon);
}

// Calls make(element, elements of a pack as a constant).
template <typename Make>
Kernel with_pack(const KernelRequest& request, DType dtype, std::int64_t length, const Make& make) {
  return for_cuda_floating(request, dtype, [&]<typename T>(T element) -> Kernel {
    if (length % kPackOf<T> != 0) return make(element, std::integral_constant<int, 1>{});
    return make(element, std::integral_constant<int, kPackOf<T>>{});
  });
}

Kernel layer_norm_cuda(const KernelRequest& request) {
  const double epsilon = request.op_as<LayerNormOp>().epsilon();
  const std::int64_t length = request.inputs[1].elements(), rows = request.inputs[0].elements() / length;
  return with_pack(request, request.inputs[0].dtype, length, [&](auto element, auto pack) {
    return make_forward<decltype(element), pack()>(rows, length, epsilon);
  });
}

Kernel layer_norm_backward_cuda(const KernelRequest& request) {
  const double epsilon = request.op_as<LayerNormBackwardOp>().epsilon();
  const std::int64_t length = request.inputs[2].elements(), rows = request.inputs[1].elements() / length;
  return with_pack(request, request.inputs[0].dtype, length, [&](auto element, auto pack) {
    return make_backward<decltype(element), pack()>(rows, length, epsilon);
  });
}

}  // namespace

void register_layer_norm_cuda(KernelRegistry& registry) {
  registry.add("layer_norm", DeviceKind::kCuda, {layer_norm_cuda, nullptr});
  registry.add("layer_norm_backward", DeviceKind::kCuda, {layer_norm_backward_cuda, nullptr});
}

}  // namespace lockstep
