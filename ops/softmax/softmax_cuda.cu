// CUDA kernels of softmax. Along the last axis a row is worked on by a group of threads that hold it in their registers; where
// it is too long for that, by a block that holds it in all the memory there is on chip; and where that does not
// suffice, it is read twice, the second time from a cache. Along another axis a thread has elements of
// one column, and its neighbours those of the next columns.
#include "ops/softmax/softmax_cuda.h"

#include "ops/softmax/softmax.h"

namespace lockstep {
namespace {

constexpr int kHeld = 8;          // packs of a thread, forward
constexpr int kHeldBackward = 4;  // of dy and of y each
constexpr int kInFlight = 4;      // loads of a thread where a row is not held
constexpr int kMostThreads = 512;

// dy and y of a row: the shorter ones two at a time; of the longer ones one takes all registers, but there is little to compute
// while no load is in flight.
using GradientRow = LongRow<256, 13, 704, 2>;
using LongGradientRow = LongRow<512, 13, 1408, 2>;

// A tensor seen as (outer, n, inner), the softmax going over n.
struct Extents {
  std::int64_t outer, n, inner;

  Extents(const Shape& shape, int axis) {
    const int at = axis < 0 ? axis + shape.rank() : axis;
    outer = shape.elements(0, at);
    n = shape[at];
    inner = shape.elements(at + 1, shape.rank());
  }
  bool rows() const { return inner == 1; }
};

// ---- Rows ----------------------------------------------------------------------------------------

template <int N, int P>
__global__ void __launch_bounds__(kMostThreads) softmax_held(RowGrid grid, bool wide, const float* x, float* y) {
  const RowThread at(grid, blockIdx.x);
  const float* from = x + at.row * grid.length;
  float* to = y + at.row * grid.length;
  float v[P][N];
#pragma unroll
  for (int i = 0; i < P * N; ++i) v[i / N][i % N] = -INFINITY;
  at.for_packs<P, N>([&](int p, std::int64_t i) { load_elements(from + i, N, wide, v[p]); });
  float largest = -INFINITY, sum = 0.0f;
#pragma unroll
  for (int i = 0; i < P * N; ++i) largest = fmaxf(largest, v[i / N][i % N]);
  largest = at.largest(largest);
#pragma unroll
  for (int i = 0; i < P * N; ++i) {
    float& value = v[i / N][i % N];
    value = expf(value - largest);
    sum += value;
  }
  const float scale = 1.0f / at.sum(sum);
  at.for_packs<P, N>([&](int p, std::int64_t i) {
#pragma unroll
    for (int k = 0; k < N; ++k) v[p][k] *= scale;
    store_pack_at(to, i, wide, v[p]);
  });
}

template <typename Wide>
__global__ void __launch_bounds__(LongLogits::kBlock, 2) softmax_on_chip(RowGrid grid, const float* x, float* y) {
  const RowThread at(grid, blockIdx.x);
  LongLogits row({x + at.row * grid.length}, static_cast<int>(grid.packs), Wide{});
  float* to = y + at.row * grid.length;
  constexpr int N = LongLogits::N;
  float largest = -INFINITY, sum = 0.0f;
  row.each([&](const float(&v)[1][N], int) {
#pragma unroll
    for (int k = 0; k < N; ++k) largest = fmaxf(largest, v[0][k]);
  });
  largest = at.largest(largest);
  row.change([&](float(&v)[1][N], int) {
#pragma unroll
    for (int k = 0; k < N; ++k) sum += v[0][k] = expf(v[0][k] - largest);
  });
  const float scale = 1.0f / at.sum(sum);
  row.each([&](const float(&v)[1][N], int i) {
    float out[N];
#pragma unroll
    for (int k = 0; k < N; ++k) out[k] = v[0][k] * scale;
    store_elements(to + i, N, Wide::value, out);
  });
}

template <int N>
__global__ void __launch_bounds__(kMostThreads) softmax_long(RowGrid grid, bool wide, const float* x, float* y) {
  const RowThread at(grid, blockIdx.x);
  const float* from = x + at.row * grid.length;
  float* to = y + at.row * grid.length;
  Exponentials mine;
  const std::int64_t step = std::int64_t{at.threads} * kInFlight;
  for (std::int64_t base = 0; base < at.packs; base += step) {
    float v[kInFlight][N];
    fill(v, -INFINITY);
    at.for_packs<kInFlight, N>(base, [&](int p, std::int64_t i) { load_elements(from + i, N, wide, v[p]); });
    mine.add(v);
  }
  const float largest = at.largest(mine.largest);
  mine.rise(largest);
  const float scale = 1.0f / at.sum(mine.sum);
  for (std::int64_t base = 0; base < at.packs; base += step) {
    float v[kInFlight][N];
    at.for_packs<kInFlight, N>(base, [&](int p, std::int64_t i) { load_elements(from + i, N, wide, v[p]); });
    at.for_packs<kInFlight, N>(base, [&](int p, std::int64_t i) {
#pragma unroll
      for (int k = 0; k < N; ++k) v[p][k] = expf(v[p][k] - largest) * scale;
      store_pack_at(to, i, wide, v[p]);
    });
  }
}

template <int N, int P>
__global__ void __launch_bounds__(kMostThreads)
    softmax_backward_held(RowGrid grid, bool wide, const float* dy, const float* y, float* dx) {
  const RowThread at(grid, blockIdx.x);
  const std::int64_t first = at.row * grid.length;
  float d[P][N], saved[P][N];
  at.for_packs<P, N>([&](int p, std::int64_t i) {
    load_elements(dy + first + i, N, wide, d[p]);
    load_elements(y + first + i, N, wide, saved[p]);
  });
  float sum = 0.0f;
  at.for_packs<P, N>([&](int p, std::int64_t) {
#pragma unroll
    for (int k = 0; k < N; ++k) sum = fmaf(d[p][k], saved[p][k], sum);
  });
  sum = at.sum(sum);
  at.for_packs<P, N>([&](int p, std::int64_t i) {
#pragma unroll
    for (int k = 0; k < N; ++k) d[p][k] = saved[p][k] * (d[p][k] - sum);
    store_pack_at(dx + first, i, wide, d[p]);
  });
}

template <typename Row, typename Wide>
__global__ void __launch_bounds__(Row::kBlock, 512 / Row::kBlock)
    softmax_backward_on_chip(RowGrid grid, const float* dy, const float* y, float* dx) {
  const RowThread at(grid, blockIdx.x);
  const std::int64_t first = at.row * grid.length;
  const Row row({dy + first, y + first}, static_cast<int>(grid.packs), Wide{});
  constexpr int N = Row::N;
  float sum = 0.0f;
  row.each([&](const float(&v)[2][N], int) {
#pragma unroll
    for (int k = 0; k < N; ++k) sum = fmaf(v[0][k], v[1][k], sum);
  });
  sum = at.sum(sum);
  row.each([&](const float(&v)[2][N], int i) {
    float out[N];
#pragma unroll
    for (int k = 0; k < N; ++k) out[k] = v[1][k] * (v[0][k] - sum);
    store_elements(dx + first + i, N, Wide::value, out);
  });
}

template <int N>
__global__ void __launch_bounds__(kMostThreads)
    softmax_backward_long(RowGrid grid, bool wide, const float* dy, const float* y, float* dx) {
  const RowThread at(grid, blockIdx.x);
  const std::int64_t first = at.row * grid.length;
  const std::int64_t step = std::int64_t{at.threads} * kInFlight;
  float d[kInFlight][N], saved[kInFlight][N];
  const auto load = [&](int p, std::int64_t i) {
    load_elements(dy + first + i, N, wide, d[p]);
    load_elements(y + first + i, N, wide, saved[p]);
  };
  float sum = 0.0f;
  for (std::int64_t base = 0; base < at.packs; base += step) {
    at.for_packs<kInFlight, N>(base, load);
    at.for_packs<kInFlight, N>(base, [&](int p, std::int64_t) {
#pragma unroll
      for (int k = 0; k < N; ++k) sum = fmaf(d[p][k], saved[p][k], sum);
    });
  }
  sum = at.sum(sum);
  for (std::int64_t base = 0; base < at.packs; base += step) {
    at.for_packs<kInFlight, N>(base, load);
    at.for_packs<kInFlight, N>(base, [&](int p, std::int64_t i) {
#pragma unroll
      for (int k = 0; k < N; ++k) d[p][k] = saved[p][k] * (d[p][k] - sum);
      store_pack_at(dx + first, i, wide, d[p]);
    });
  }
}

// ---- Columns -------------------------------------------------------------------------------------

// Blocks of kThreads: `lanes` threads (a power of two) share a column, each having every so many-th of its elements.
struct ColumnGrid {
  std::int64_t columns, n, inner;  // columns of all outer parts
  Divisor columns_of_part;
  int lanes = 1;

  explicit ColumnGrid(const Extents& e) : columns(e.outer * e.inner), n(e.n), inner(e.inner) {
    constexpr std::int64_t kEnoughThreads = 132 * 1024;  // that keep the memory of any GPU busy
    while (lanes < kMostLanes && lanes * kRowsOfLane < n && columns * lanes < kEnoughThreads) lanes *= 2;
    columns_of_part = Divisor(inner, columns + kThreads);
  }
  int width() const { return kThreads / lanes; }
  dim3 blocks() const { return blocks_for(columns, width()); }

  static constexpr int kMostLanes = 32, kRowsOfLane = 8;
};

struct ColumnThread {
  int width, side, lane;
  std::int64_t first, step;  // its elements: first, first + step, ...
  std::int64_t count;        // how many of them

  // kInFlight of its elements from number j on: calls body(u, index).
  template <typename Body>
  __device__ void for_some(std::int64_t j, const Body& body) const {
#pragma unroll
    for (int u = 0; u < kInFlight; ++u) {
      if (j + u < count) body(u, first + (j + u) * step);
    }
  }

  __device__ explicit ColumnThread(const ColumnGrid& grid) {
    width = kThreads / grid.lanes;
    lane = static_cast<int>(threadIdx.x) / width;
    side = static_cast<int>(threadIdx.x) - lane * width;
    const std::int64_t column = std::int64_t{blockIdx.x} * width + side;
    const std::int64_t part = grid.columns_of_part.quotient(column);
    first = part * grid.n * grid.inner + (column - part * grid.inner) + lane * grid.inner;
    step = grid.lanes * grid.inner;
    count = column < grid.columns && lane < grid.n ? (grid.n - lane + grid.lanes - 1) / grid.lanes : 0;
  }
};

__global__ void __launch_bounds__(kThreads) softmax_columns(ColumnGrid grid, const float* x, float* y) {
  __shared__ float largest[kThreads], sums[kThreads];
  const ColumnThread at(grid);
  Exponentials mine;
  for (std::int64_t j = 0; j < at.count; j += kInFlight) {
    float v[kInFlight];
#pragma unroll
    for (int u = 0; u < kInFlight; ++u) v[u] = -INFINITY;
    at.for_some(j, [&](int u, std::int64_t i) { v[u] = x[i]; });
    mine.add(v);
  }
  largest[threadIdx.x] = mine.largest;
  sums[threadIdx.x] = mine.sum;
  __syncthreads();
  Exponentials all;
  for (int lane = 0; lane < grid.lanes; ++lane) all.largest = fmaxf(all.largest, largest[lane * at.width + at.side]);
  for (int lane = 0; lane < grid.lanes; ++lane) {
    const int other = lane * at.width + at.side;
    all.sum += sums[other] * expf(largest[other] - all.base());
  }
  const float scale = 1.0f / all.sum;
  for (std::int64_t j = 0; j < at.count; j += kInFlight) {
    float v[kInFlight];
    at.for_some(j, [&](int u, std::int64_t i) { v[u] = x[i]; });
    at.for_some(j, [&](int u, std::int64_t i) { y[i] = expf(v[u] - all.largest) * scale; });
  }
}

__global__ void __launch_bounds__(kThreads)
    softmax_backward_columns(ColumnGrid grid, const float* dy, const float* y, float* dx) {
  __shared__ float sums[kThreads];
  const ColumnThread at(grid);
  float d[kInFlight], saved[kInFlight];
  const auto load = [&](int u, std::int64_t i) {
    d[u] = dy[i];
    saved[u] = y[i];
  };
  float sum = 0.0f;
  for (std::int64_t j = 0; j < at.count; j += kInFlight) {
    at.for_some(j, load);
    at.for_some(j, [&](int u, std::int64_t) { sum = fmaf(d[u], saved[u], sum); });
  }
  sums[threadIdx.x] = sum;
  __syncthreads();
  sum = 0.0f;
  for (int lane = 0; lane < grid.lanes; ++lane) sum += sums[lane * at.width + at.side];
  for (std::int64_t j = 0; j < at.count; j += kInFlight) {
    at.for_some(j, load);
    at.for_some(j, [&](int u, std::int64_t i) { dx[i] = saved[u] * (d[u] - sum); });
  }
}

// ---- Launches ------------------------------------------------------------------------------------

Kernel make_on_chip(std::int64_t rows, std::int64_t length) {
  RowGroups groups(rows, length, LongLogits::N, 1);
  groups.give_block_each(LongLogits::kBlock);
  return {"softmax_cuda (long rows)", [=](const Launch& on) {
            const float* x = on.input<float>(0);
            float* y = on.output<float>(0);
            const bool wide = is_aligned(x, 16) && is_aligned(y, 16);
            launch(on, groups.blocks(), groups.block,
                   wide ? softmax_on_chip<std::true_type> : softmax_on_chip<std::false_type>, groups.grid(), x, y);
          }};
}

template <int N>
Kernel make_rows(const RowGroups& groups) {
  const auto kernel = groups.of_thread == 1       ? softmax_held<N, 1>
                      : groups.of_thread <= kHeld ? softmax_held<N, kHeld>
                                                  : softmax_long<N>;
  return {"softmax_cuda (rows)", [=](const Launch& on) {
            const float* x = on.input<float>(0);
            float* y = on.output<float>(0);
            const bool wide = is_aligned(x, sizeof(float) * N) && is_aligned(y, sizeof(float) * N);
            launch(on, groups.blocks(), groups.block, kernel, groups.grid(), wide, x, y);
          }};
}

template <typename Row>
Kernel make_backward_on_chip(std::int64_t rows, std::int64_t length) {
  RowGroups groups(rows, length, Row::N, 1);
  groups.give_block_each(Row::kBlock);
  return {"softmax_backward_cuda (long rows)", [=](const Launch& on) {
            const float *dy = on.input<float>(0), *y = on.input<float>(1);
            float* dx = on.output<float>(0);
            const bool wide = is_aligned(dy, 16) && is_aligned(y, 16) && is_aligned(dx, 16);
            launch(on, groups.blocks(), groups.block,
                   wide ? softmax_backward_on_chip<Row, std::true_type> : softmax_backward_on_chip<Row, std::false_type>,
                   groups.grid(), dy, y, dx);
          }};
}

template <int N>
Kernel make_backward_rows(const RowGroups& groups) {
  const auto kernel = groups.of_thread == 1               ? softmax_backward_held<N, 1>
                      : groups.of_thread <= kHeldBackward ? softmax_backward_held<N, kHeldBackward>
                                                          : softmax_backward_long<N>;
  return {"softmax_backward_cuda (rows)", [=](const Launch& on) {
            const float *dy = on.input<float>(0), *y = on.input<float>(1);
            float* dx = on.output<float>(0);
            const bool wide = is_aligned(dy, sizeof(float) * N) && is_aligned(y, sizeof(float) * N) &&
                              is_aligned(dx, sizeof(float) * N);
            launch(on, groups.blocks(), groups.block, kernel, groups.grid(), wide, dy, y, dx);
          }};
}

Kernel softmax_cuda(const KernelRequest& request) {
  const Extents e(request.inputs[0].shape, request.op_as<SoftmaxOp>().axis());
  if (request.inputs[0].elements() == 0) return {"softmax_cuda (empty)", [](const Launch&) {}};
  if (e.rows()) {
    const RowGroups groups(e.outer, e.n, kPackOf<float>, kHeld, kMostThreads);
    if (groups.of_thread > kHeld && LongLogits::fits(e.n)) return make_on_chip(e.outer, e.n);
    return groups.pack == 1 ? make_rows<1>(groups) : make_rows<kPackOf<float>>(groups);
  }
  const ColumnGrid grid(e);
  return {"softmax_cuda (columns)", [=](const Launch& on) {
            launch(on, grid.blocks(), kThreads, softmax_columns, grid, on.input<float>(0), on.output<float>(0));
          }};
}

Kernel softmax_backward_cuda(const KernelRequest& request) {
  const Extents e(request.inputs[0].shape, request.op_as<SoftmaxBackwardOp>().axis());
  if (request.inputs[0].elements() == 0) return {"softmax_backward_cuda (empty)", [](const Launch&) {}};
  if (e.rows()) {
    const RowGroups groups(e.outer, e.n, kPackOf<float>, kHeldBackward, kMostThreads);
    if (groups.of_thread > kHeldBackward) {
      if (GradientRow::fits(e.n)) return make_backward_on_chip<GradientRow>(e.outer, e.n);
      if (LongGradientRow::fits(e.n)) return make_backward_on_chip<LongGradientRow>(e.outer, e.n);
    }
    return groups.pack == 1 ? make_backward_rows<1>(groups) : make_backward_rows<kPackOf<float>>(groups);
  }
  const ColumnGrid grid(e);
  return {"softmax_backward_cuda (columns)", [=](const Launch& on) {
            launch(on, grid.blocks(), kThreads, softmax_backward_columns, grid, on.input<float>(0), on.input<float>(1),
                   on.output<float>(0));
          }};
}

}  // namespace

void register_softmax_cuda(KernelRegistry& registry) {
  registry.add("softmax", DeviceKind::kCuda, {softmax_cuda, nullptr});
  registry.add("softmax_backward", DeviceKind::kCuda, {softmax_backward_cuda, nullptr});
}

}  // namespace lockstep
