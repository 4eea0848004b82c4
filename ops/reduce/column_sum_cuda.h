// Sums over the rows of row-major matrices on the GPU: of (results, rows, columns) the sums (results, columns), one or
// several at once. For gradients of biases, of broadcast inputs and of normalisations, for batch statistics, pooling.
//
//   const ColumnSum sum(1, rows, columns, kPackOf<T>);                        // when the kernel is made
//   Kernel{..., sum.workspace_bytes(1)};
//   launch_column_sum<1>(on, sum, on.workspace, MatrixValues<T>{x, columns}, StoreSum<float>{y, scale});
//
// What is added up is computed where it is read (`Values`), and what becomes of a sum where it is ready (`Finish`):
//
//   struct Values {                                        // of kSums sums
//     static constexpr int kWidest;                        // columns that are loaded at once where possible: 1, 2, 4 or 8
//     bool wide() const;                                   // on the host: the memory is aligned for that
//     template <int N>                                     // N = kWidest or 1; column is a multiple of N
//     __device__ void load(std::int64_t row, std::int64_t column, float (&v)[kSums][N]) const;   // row < results * rows
//   };
//   struct Finish {                                        // index = result * columns + column; called once for each
//     __device__ void operator()(std::int64_t index, const float (&sums)[kSums]) const;
//   };
//
// Order of the additions: the rows are cut into pieces, a block each, and a piece into lanes that have every so many-th row.
// A lane adds four rows (a tree) onto its sum at a time; the lanes of a block are added in a tree, and the pieces by a second
// launch in the same way. Pieces and lanes depend on the extents (and `widest`) alone, not on alignment: unaligned memory
// costs time, but gives the same bits. One pass over memory; one launch where there is one piece.
#pragma once

#include <cstdint>

#include "core/kernel/cuda_elementwise.h"

namespace lockstep {

struct Adding {
  static constexpr float kIdentity = 0.0f;
  __device__ static float combine(float a, float b) { return a + b; }
};

// How the work is cut.
struct ColumnSum {
  std::int64_t results = 0, rows = 0, columns = 0;
  int pack = 1;                 // columns of a thread where memory is aligned
  int width = 1, lanes = 1;     // threads of a block side by side; and along the rows
  std::int64_t pieces = 1, rows_of_piece = 0;

  // `widest`: Values::kWidest. At most `most_pieces`.
  ColumnSum(std::int64_t results, std::int64_t rows, std::int64_t columns, int widest,
            std::int64_t most_pieces = kMostPieces)
      : results(results), rows(rows), columns(columns), pack(columns % widest == 0 ? widest : 1) {
    constexpr std::int64_t kSmall = 1 << 18;  // elements below which parallel loads matter more than long ones
    const std::int64_t packs = std::max<std::int64_t>(1, results * (columns / pack));
    std::int64_t wanted = 1;  // lanes such that each has 8 rows
    while (wanted < kThreads && wanted * kRowsOfLane < rows) wanted *= 2;
    const bool few = results * rows * columns <= kSmall;
    std::int64_t narrowest = few ? 2 : kWarp;
    // In one piece there are no blocks but those side by side.
    while (most_pieces == 1 && narrowest > 4 && packs / narrowest < kFewBlocks) narrowest /= 2;
    width = static_cast<int>(std::min(packs, std::max(narrowest, kThreads / wanted)));
    lanes = kThreads / width;
    rows_of_piece = rows;
    if (rows <= 4 * kRowsOfLane * lanes || most_pieces == 1) return;
    const std::int64_t tiles = (packs + width - 1) / width, least = kRowsOfLane * lanes;
    pieces = std::clamp<std::int64_t>(kEnoughBlocks / tiles, 1, std::min(most_pieces, (rows + least - 1) / least));
    rows_of_piece = ((rows + pieces - 1) / pieces + lanes - 1) / lanes * lanes;
    pieces = (rows + rows_of_piece - 1) / rows_of_piece;
  }

  // Memory that a launch needs for `sums` sums.
  std::size_t workspace_bytes(int sums) const {
    if (pieces == 1) return 0;
    return static_cast<std::size_t>(pieces * sums * results * columns) * sizeof(float);
  }

  static constexpr std::int64_t kRowsOfLane = 8;          // that are worth a lane of their own
  static constexpr std::int64_t kEnoughBlocks = 132 * 8;  // that fill any GPU
  static constexpr std::int64_t kFewBlocks = 132;         // below which multiprocessors have nothing to do
  static constexpr std::int64_t kMostPieces = std::int64_t{1} << 20;
};

// The elements of a matrix.
template <typename T>
struct MatrixValues {
  static constexpr int kWidest = kPackOf<T>;
  const T* x;
  std::int64_t columns;

  bool wide() const { return is_aligned(x, 16); }
  template <int N>
  __device__ void load(std::int64_t row, std::int64_t column, float (&v)[1][N]) const {
    T raw[N];
    load_pack(x + row * columns + column, raw);
#pragma unroll
    for (int k = 0; k < N; ++k) v[0][k] = to_float(raw[k]);
  }
};

// y[index] = scale * sum.
template <typename Y>
struct StoreSum {
  Y* y;
  float scale = 1.0f;
  __device__ void operator()(std::int64_t index, const float (&sums)[1]) const {
    y[index] = from_float<Y>(sums[0] * scale);
  }
};

namespace column_sum {

// A launch: thread (lane, t) of tile i has the columns of pack i * width + t of all results.
struct Grid {
  std::int64_t rows, columns, rows_of_piece;
  std::int64_t packs;      // of all results
  unsigned tiles;
  Divisor packs_of_result;
  int width, lanes, tree;  // tree: the power of two that is not below lanes
};

template <int N, int kSums, typename Combine, typename Values>
__device__ inline void add_rows(const Grid& grid, const Values& values, std::int64_t first, std::int64_t row,
                                std::int64_t end, std::int64_t column, float (&sum)[kSums][N]) {
  constexpr int kRows = 4;  // in flight
  const std::int64_t step = grid.lanes;
  auto add = [&sum](const float (&v)[kRows][kSums][N]) {
#pragma unroll
    for (int s = 0; s < kSums; ++s) {
#pragma unroll
      for (int k = 0; k < N; ++k) {
        const float low = Combine::combine(v[0][s][k], v[1][s][k]), high = Combine::combine(v[2][s][k], v[3][s][k]);
        sum[s][k] = Combine::combine(sum[s][k], Combine::combine(low, high));
      }
    }
  };
  for (; row + (kRows - 1) * step < end; row += kRows * step) {
    float v[kRows][kSums][N];
#pragma unroll
    for (int u = 0; u < kRows; ++u) values.template load<N>(first + row + u * step, column, v[u]);
    add(v);
  }
  if (row >= end) return;
  float v[kRows][kSums][N];
#pragma unroll
  for (int u = 0; u < kRows; ++u) {
    if (row + u * step < end) {
      values.template load<N>(first + row + u * step, column, v[u]);
      continue;
    }
#pragma unroll
    for (int s = 0; s < kSums; ++s) {
#pragma unroll
      for (int k = 0; k < N; ++k) v[u][s][k] = Combine::kIdentity;
    }
  }
  add(v);
}

template <int N, int kSums, typename Combine, typename Values, typename Finish>
__global__ void __launch_bounds__(kThreads) run(Grid grid, Values values, Finish finish) {
  __shared__ float partial[kSums * N][kThreads];
  const int t = static_cast<int>(threadIdx.x), lane = t / grid.width;
  const unsigned piece = blockIdx.x / grid.tiles, tile = blockIdx.x - piece * grid.tiles;
  const std::int64_t pack = static_cast<std::int64_t>(tile) * grid.width + (t - lane * grid.width);
  const std::int64_t result = grid.packs_of_result.quotient(pack);
  const std::int64_t column = (pack - result * grid.packs_of_result.divisor) * N;
  const bool active = lane < grid.lanes && pack < grid.packs;
  float sum[kSums][N];
#pragma unroll
  for (int s = 0; s < kSums; ++s) {
#pragma unroll
    for (int k = 0; k < N; ++k) sum[s][k] = Combine::kIdentity;
  }
  if (active) {
    const std::int64_t begin = piece * grid.rows_of_piece, full_end = begin + grid.rows_of_piece;
    const std::int64_t end = full_end < grid.rows ? full_end : grid.rows;
    add_rows<N, kSums, Combine>(grid, values, result * grid.rows, begin + lane, end, column, sum);
  }
#pragma unroll
  for (int i = 0; i < kSums * N; ++i) partial[i][t] = sum[i / N][i % N];
  __syncthreads();
  for (int half = grid.tree / 2; half > 0; half /= 2) {
    if (lane < half && lane + half < grid.lanes) {
#pragma unroll
      for (int i = 0; i < kSums * N; ++i) {
        partial[i][t] = Combine::combine(partial[i][t], partial[i][t + half * grid.width]);
      }
    }
    __syncthreads();
  }
  if (lane != 0 || !active) return;
#pragma unroll
  for (int k = 0; k < N; ++k) {
    float total[kSums];
#pragma unroll
    for (int s = 0; s < kSums; ++s) total[s] = partial[s * N + k][t];
    finish(piece, result * grid.columns + column + k, total);
  }
}

// Sums of a piece: into the workspace, (pieces, sums, results * columns).
struct KeepPiece {
  float* to;
  std::int64_t stride;  // results * columns
  template <int kSums>
  __device__ void operator()(std::int64_t piece, std::int64_t index, const float (&sums)[kSums]) const {
#pragma unroll
    for (int s = 0; s < kSums; ++s) to[(piece * kSums + s) * stride + index] = sums[s];
  }
};
template <int kSums>
struct Pieces {
  static constexpr int kWidest = 4;
  const float* from;
  std::int64_t stride;
  bool wide() const { return true; }
  template <int N>
  __device__ void load(std::int64_t piece, std::int64_t index, float (&v)[kSums][N]) const {
#pragma unroll
    for (int s = 0; s < kSums; ++s) load_pack(from + (piece * kSums + s) * stride + index, v[s]);
  }
};

template <typename Finish>
struct Last {
  Finish finish;
  template <int kSums>
  __device__ void operator()(std::int64_t, std::int64_t index, const float (&sums)[kSums]) const {
    finish(index, sums);
  }
};

template <int N, int kSums, typename Combine, typename Values, typename Finish>
void launch_grid(const Launch& on, const ColumnSum& sum, const Values& values, const Finish& finish) {
  Grid grid = {};
  grid.rows = sum.rows;
  grid.columns = sum.columns;
  grid.rows_of_piece = sum.rows_of_piece;
  grid.packs = sum.results * (sum.columns / N);
  grid.tiles = static_cast<unsigned>((grid.packs + sum.width - 1) / sum.width);
  grid.packs_of_result = Divisor(sum.columns / N, grid.packs + sum.width);
  grid.width = sum.width;
  grid.lanes = sum.lanes;
  for (grid.tree = 1; grid.tree < grid.lanes;) grid.tree *= 2;
  launch(on, dim3(grid.tiles * static_cast<unsigned>(sum.pieces)), kThreads,
         run<N, kSums, Combine, Values, Finish>, grid, values, finish);
}

template <int kSums, typename Combine, typename Values, typename Finish>
void launch_values(const Launch& on, const ColumnSum& sum, const Values& values, const Finish& finish) {
  constexpr int N = Values::kWidest;
  if constexpr (N > 1) {
    if (sum.pack == N && values.wide()) return launch_grid<N, kSums, Combine>(on, sum, values, finish);
  }
  launch_grid<1, kSums, Combine>(on, sum, values, finish);
}

}  // namespace column_sum

// One or two launches. `workspace`: sum.workspace_bytes(kSums) bytes, aligned to 16. REQUIRES: `sum` was made with
// Values::kWidest. Combine may be something else than a sum: associative, commutative, with an identity.
template <int kSums, typename Combine = Adding, typename Values, typename Finish>
void launch_column_sum(const Launch& on, const ColumnSum& sum, void* workspace, const Values& values,
                       const Finish& finish) {
  using column_sum::launch_values;
  const column_sum::Last<Finish> last{finish};
  if (sum.pieces == 1) return launch_values<kSums, Combine>(on, sum, values, last);
  const std::int64_t stride = sum.results * sum.columns;
  auto* pieces = static_cast<float*>(workspace);
  launch_values<kSums, Combine>(on, sum, values, column_sum::KeepPiece{pieces, stride});
  const ColumnSum second(1, sum.pieces, stride, column_sum::Pieces<kSums>::kWidest, 1);
  launch_values<kSums, Combine>(on, second, column_sum::Pieces<kSums>{pieces, stride}, last);
}

}  // namespace lockstep
