// Reductions and passes over the channels of a row-major matrix (rows, channels) on the GPU, for batch normalisation.
//
//   const Cut cut(rows, channels, kPackOf<T>);                 // when the kernel is made
//   Kernel{..., cut.workspace_bytes()};
//   launch_reduction(on, cut, statistic, pass);                // the statistic of each channel, then a pass that uses it
//   launch_pass(on, cut, pass);                                // a pass alone
//
// A statistic is two numbers of each channel that are made of its rows:
//
//   struct Statistic {
//     static constexpr int kRows;                              // that a thread has in flight
//     static constexpr int kParameters;                        // numbers of a channel that the rows are read with
//     __device__ void prepare(std::int64_t column, float (&p)[kParameters]) const;
//     template <int N> struct Loaded;                          // N neighbours as they are in memory
//     template <int N> __device__ void load(std::int64_t at, Loaded<N>& to) const;
//     template <int N> struct Lane {                           // what a thread adds up, of N channels; starts as zeros
//       __device__ void add(const Statistic&, std::int64_t at, const Loaded<N>&, const float (&p)[kParameters][N]);
//       __device__ void result(float (&v)[2][N]) const;
//       float count;                                           // rows so far
//     };
//     // a and b are results of na and nb rows; a becomes that of all.
//     __device__ static void merge(float (&a)[2], float na, const float (&b)[2], float nb);
//     // Adds what a piece of `count` rows contributes; `first` is the result of the first piece.
//     __device__ static void add_piece(const float (&v)[2], const float (&first)[2], double count, double (&sums)[2]);
//     __device__ void finish(std::int64_t column, const double (&sums)[2], const float (&first)[2]) const;
//     bool wide() const;                                       // on the host: memory is aligned for N = kPackOf
//   };
//
// A pass computes elements from the elements at the same place and numbers of their channel: kRows, kParameters, prepare,
// Loaded, load and wide() as above, and
//
//     template <int N> __device__ void store(std::int64_t at, const Loaded<N>&, const float (&p)[kParameters][N]) const;
//
// A block works on a tile: up to 32 packs of neighbouring channels, and on as many rows at once as it has threads for
// (lanes). Where a channel has few rows, a block has all of them, and one launch does everything. Else the rows are cut into
// pieces; the results of the pieces are combined in f64 by a second launch, and the pass is a third one. It goes through
// the rows from the end, where they were read last. The order of additions depends on the extents alone, not on
// alignment: unaligned memory costs time, but gives the same bits.
#pragma once

#include <cstdint>

#include "core/kernel/cuda_elementwise.h"

namespace lockstep::channels {

constexpr int kMostWidth = 32;         // packs of a tile
constexpr int kWholeThreads = 512;     // of a block that has all rows of its channels,
constexpr int kWholeWidth = 4;         // its packs (64 bytes),
constexpr int kMostWholeRows = 16;     // and the rows of a lane up to which that is faster than three launches
constexpr int kCombineThreads = 1024;  // of a block that combines pieces,
constexpr int kCombineColumns = 8;     // and its channels

// A launch whose threads have N neighbouring channels each.
struct Grid {
  std::int64_t rows, columns, packs;
  unsigned tiles;
  int width, lanes;
};

struct Cut {
  std::int64_t rows, columns;
  int pack;    // channels of a thread where memory is aligned
  bool whole;  // in one launch
  std::int64_t pieces = 1, rows_of_piece;

  Cut(std::int64_t rows, std::int64_t columns, int widest)
      : rows(rows), columns(columns), pack(columns % widest == 0 ? widest : 1), rows_of_piece(rows) {
    constexpr std::int64_t kEnoughBlocks = 132 * 6;  // that fill an H100, whether two or three share a multiprocessor
    constexpr std::int64_t kRowsOfLane = 8;          // that are worth a lane of their own, and a multiple of any kRows
    whole = rows <= std::int64_t{kMostWholeRows} * whole_grid(pack).lanes;
    if (whole) return;
    const Grid grid = piece_grid(pack);
    const std::int64_t least = kRowsOfLane * grid.lanes;
    pieces = std::clamp<std::int64_t>(kEnoughBlocks / std::max(1u, grid.tiles), 1, (rows + least - 1) / least);
    rows_of_piece = ((rows + pieces - 1) / pieces + least - 1) / least * least;  // no lane reads less than kRows at a time
    pieces = (rows + rows_of_piece - 1) / rows_of_piece;
  }
  // The result of each piece: (pieces, 2, columns).
  std::size_t workspace_bytes() const {
    return whole ? 0 : static_cast<std::size_t>(pieces * 2 * columns) * sizeof(float);
  }

  Grid whole_grid(int n) const { return grid(n, kWholeWidth, kWholeThreads); }
  Grid piece_grid(int n) const { return grid(n, kMostWidth, kThreads); }

 private:
  // Tiles are equally wide. Threads have n channels, but width and lanes are those of threads that have `pack`.
  Grid grid(int n, int most_width, int threads) const {
    const std::int64_t packs = columns / pack, tiles = (packs + most_width - 1) / most_width;
    const int width = tiles == 0 ? 1 : static_cast<int>((packs + tiles - 1) / tiles);
    Grid out = {rows, columns, columns / n, 0, width, threads / width};
    out.tiles = static_cast<unsigned>((out.packs + width - 1) / width);
    return out;
  }
};

// ---- Kernels -------------------------------------------------------------------------------------

// Where a thread works.
struct Place {
  unsigned tile, across;  // across: the block among those of the tile
  int lane, side;         // the row, and the pack of the tile
  std::int64_t column;    // its first channel
  bool active;

  template <int N>
  __device__ static Place of(const Grid& grid) {
    Place at;
    at.across = blockIdx.x / grid.tiles;
    at.tile = blockIdx.x - at.across * grid.tiles;
    at.lane = static_cast<int>(threadIdx.x) / grid.width;
    at.side = static_cast<int>(threadIdx.x) - at.lane * grid.width;
    const std::int64_t pack = static_cast<std::int64_t>(at.tile) * grid.width + at.side;
    at.column = pack * N;
    at.active = at.lane < grid.lanes && pack < grid.packs;
    return at;
  }
};

// The parameters of the thread's channels: each is computed by one thread of the block.
template <int N, int kBlock, typename Columns>
__device__ inline void prepare(const Grid& grid, const Place& at, const Columns& columns,
                               float (&mine)[Columns::kParameters][N]) {
  constexpr int K = Columns::kParameters;
  __shared__ float shared[K][kMostWidth * N];
  const std::int64_t first = static_cast<std::int64_t>(at.tile) * grid.width * N;
  for (int i = static_cast<int>(threadIdx.x); i < grid.width * N; i += kBlock) {
    if (first + i >= grid.columns) break;
    float p[K];
    columns.prepare(first + i, p);
#pragma unroll
    for (int k = 0; k < K; ++k) shared[k][i] = p[k];
  }
  __syncthreads();
  if (!at.active) return;
#pragma unroll
  for (int k = 0; k < K; ++k) {
#pragma unroll
    for (int n = 0; n < N; ++n) mine[k][n] = shared[k][at.side * N + n];
  }
}

__device__ inline std::int64_t smaller_of(std::int64_t a, std::int64_t b) { return a < b ? a : b; }

// The statistic of the rows [begin, end), in the threads of lane 0. Rows beyond the last are read as the last one, so that
// no load waits for a comparison, and are not added.
template <int N, int kBlock, typename Statistic>
__device__ inline void reduce_rows(const Grid& grid, const Place& at, const Statistic& statistic, std::int64_t begin,
                                   std::int64_t end, float (&total)[2][N]) {
  __shared__ float partial[2 * N][kBlock];
  __shared__ float counts[kBlock];
  constexpr int kRows = Statistic::kRows;
  const std::int64_t step = grid.lanes * grid.columns, last = (end - 1) * grid.columns + at.column;
  std::int64_t row = begin + at.lane, place = row * grid.columns + at.column;
  const bool has_rows = at.active && row < end;
  typename Statistic::template Loaded<N> loaded[kRows];
  const auto load = [&] {
#pragma unroll
    for (int u = 0; u < kRows; ++u) statistic.template load<N>(smaller_of(place + u * step, last), loaded[u]);
  };
  if (has_rows) load();  // on the way while the parameters are prepared
  float parameters[Statistic::kParameters][N];
  prepare<N, kBlock>(grid, at, statistic, parameters);
  typename Statistic::template Lane<N> lane = {};
  while (has_rows) {
#pragma unroll
    for (int u = 0; u < kRows; ++u) {
      if (row + u * grid.lanes < end) lane.add(statistic, place + u * step, loaded[u], parameters);
    }
    row += kRows * grid.lanes;
    place += kRows * step;
    if (row >= end) break;
    load();
  }
  lane.result(total);
  const int thread = static_cast<int>(threadIdx.x);
#pragma unroll
  for (int i = 0; i < 2 * N; ++i) partial[i][thread] = total[i / N][i % N];
  counts[thread] = lane.count;
  __syncthreads();
  int lanes = grid.lanes;
  while (lanes > 1) {  // the upper half onto the lower half; an odd one in the middle waits
    const int half = (lanes + 1) / 2, other = thread + half * grid.width;
    if (at.lane + half < lanes) {
#pragma unroll
      for (int n = 0; n < N; ++n) {
        float a[2] = {partial[n][thread], partial[N + n][thread]};
        const float b[2] = {partial[n][other], partial[N + n][other]};
        Statistic::merge(a, counts[thread], b, counts[other]);
        partial[n][thread] = a[0];
        partial[N + n][thread] = a[1];
      }
      counts[thread] += counts[other];
    }
    lanes = half;
    __syncthreads();
  }
#pragma unroll
  for (int i = 0; i < 2 * N; ++i) total[i / N][i % N] = partial[i][thread];
}

// Chunks of Pass::kRows * lanes rows, from `chunk` down.
template <int N, int kBlock, typename Pass>
__device__ inline void pass_rows(const Grid& grid, const Place& at, const Pass& pass, std::int64_t chunk,
                                 std::int64_t step_of_chunks) {
  constexpr int kRows = Pass::kRows;
  const std::int64_t step = grid.lanes * grid.columns, last = (grid.rows - 1) * grid.columns + at.column;
  const auto row_of = [&](std::int64_t number) { return number * kRows * grid.lanes + at.lane; };
  typename Pass::template Loaded<N> loaded[kRows];
  const auto load = [&] {
    const std::int64_t place = row_of(chunk) * grid.columns + at.column;
#pragma unroll
    for (int u = 0; u < kRows; ++u) pass.template load<N>(smaller_of(place + u * step, last), loaded[u]);
  };
  if (at.active && chunk >= 0) load();  // on the way while the parameters are prepared
  float parameters[Pass::kParameters][N];
  prepare<N, kBlock>(grid, at, pass, parameters);
  if (!at.active) return;
  while (chunk >= 0) {
    const std::int64_t row = row_of(chunk), place = row * grid.columns + at.column;
#pragma unroll
    for (int u = 0; u < kRows; ++u) {
      if (row + u * grid.lanes < grid.rows) pass.template store<N>(place + u * step, loaded[u], parameters);
    }
    chunk -= step_of_chunks;
    if (chunk >= 0) load();
  }
}

template <typename Pass>
__host__ __device__ std::int64_t chunks_of(const Grid& grid) {
  return (grid.rows + Pass::kRows * grid.lanes - 1) / (Pass::kRows * grid.lanes);
}

// Blocks of a multiprocessor: three, where what a thread holds fits into a third of the registers: rows, parameters, and what it
// makes of them.
template <typename Columns, int N, std::size_t kMadeBytes>
constexpr int kResident =
    Columns::kRows * sizeof(typename Columns::template Loaded<N>) + Columns::kParameters * N * sizeof(float) + kMadeBytes <=
            66 * sizeof(float)
        ? 3
        : 2;

// Stands where nothing is to be done after a statistic.
struct NoPass {
  bool wide() const { return true; }
};

template <int N, typename Statistic, typename Pass>
__global__ void __launch_bounds__(kWholeThreads) whole(Grid grid, Statistic statistic, Pass pass) {
  const Place at = Place::of<N>(grid);
  float total[2][N];
  reduce_rows<N, kWholeThreads>(grid, at, statistic, 0, grid.rows, total);
  if (at.active && at.lane == 0) {
#pragma unroll
    for (int n = 0; n < N; ++n) {
      const float result[2] = {total[0][n], total[1][n]};
      double sums[2] = {0.0, 0.0};
      Statistic::add_piece(result, result, static_cast<double>(grid.rows), sums);
      statistic.finish(at.column + n, sums, result);
    }
  }
  if constexpr (!std::is_same_v<Pass, NoPass>) {
    __syncthreads();  // the pass reads in memory what was finished
    pass_rows<N, kWholeThreads>(grid, at, pass, chunks_of<Pass>(grid) - 1, 1);
  }
}

template <int N, typename Statistic>
__global__ void __launch_bounds__(kThreads, kResident<Statistic, N, sizeof(typename Statistic::template Lane<N>)>)
    reduce_piece(Grid grid, std::int64_t rows_of_piece, Statistic statistic, float* results) {
  const Place at = Place::of<N>(grid);
  const std::int64_t begin = at.across * rows_of_piece, end = smaller_of(begin + rows_of_piece, grid.rows);
  float total[2][N];
  reduce_rows<N, kThreads>(grid, at, statistic, begin, end, total);
  if (!at.active || at.lane != 0) return;
#pragma unroll
  for (int s = 0; s < 2; ++s) {
#pragma unroll
    for (int n = 0; n < N; ++n) {
      results[(std::int64_t{at.across} * 2 + s) * grid.columns + at.column + n] = total[s][n];
    }
  }
}

template <typename Statistic>
__global__ void __launch_bounds__(kCombineThreads)
    combine(std::int64_t rows, std::int64_t columns, std::int64_t pieces, std::int64_t rows_of_piece, Statistic statistic,
            const float* results) {
  constexpr int kLanes = kCombineThreads / kCombineColumns;
  __shared__ double partial[2][kCombineColumns][kWarp];
  const int thread = static_cast<int>(threadIdx.x), side = thread % kCombineColumns;
  const std::int64_t first_column = std::int64_t{blockIdx.x} * kCombineColumns, column = first_column + side;
  double sums[2] = {0.0, 0.0};
  if (column < columns) {
    const float first[2] = {results[column], results[columns + column]};
#pragma unroll 4
    for (std::int64_t piece = thread / kCombineColumns; piece < pieces; piece += kLanes) {
      const float* from = results + piece * 2 * columns + column;
      const float result[2] = {from[0], from[columns]};
      const std::int64_t count = piece + 1 < pieces ? rows_of_piece : rows - piece * rows_of_piece;
      Statistic::add_piece(result, first, static_cast<double>(count), sums);
    }
  }
#pragma unroll
  for (int s = 0; s < 2; ++s) {
    for (int step = kCombineColumns; step < kWarp; step *= 2) sums[s] += __shfl_xor_sync(0xffffffffu, sums[s], step);
    if (thread % kWarp < kCombineColumns) partial[s][side][thread / kWarp] = sums[s];
  }
  __syncthreads();
  const int warp = thread / kWarp;  // adds up the channel of its number
  if (warp >= kCombineColumns) return;
#pragma unroll
  for (int s = 0; s < 2; ++s) {
    sums[s] = partial[s][warp][thread % kWarp];
    for (int step = kWarp / 2; step > 0; step /= 2) sums[s] += __shfl_xor_sync(0xffffffffu, sums[s], step);
  }
  const std::int64_t finished = first_column + warp;
  if (thread % kWarp != 0 || finished >= columns) return;
  const float first[2] = {results[finished], results[columns + finished]};
  statistic.finish(finished, sums, first);
}

template <int N, typename Pass>
__global__ void __launch_bounds__(kThreads, kResident<Pass, N, N * sizeof(float)>)
    run_pass(Grid grid, std::int64_t chunks, unsigned blocks, Pass pass) {
  const Place at = Place::of<N>(grid);
  pass_rows<N, kThreads>(grid, at, pass, chunks - 1 - at.across, blocks);
}

// ---- Launches ------------------------------------------------------------------------------------

template <int N, typename Pass>
void launch_pass_of(const Launch& on, const Cut& cut, const Pass& pass) {
  const Grid grid = cut.piece_grid(N);
  const std::int64_t chunks = chunks_of<Pass>(grid), most = std::max<std::int64_t>(1, kMostBlocks / std::max(1u, grid.tiles));
  const std::int64_t rounds = std::max<std::int64_t>(1, (chunks + most - 1) / most);  // of each block: all have as many
  const auto blocks = static_cast<unsigned>((chunks + rounds - 1) / rounds);
  launch(on, dim3(grid.tiles * blocks), kThreads, run_pass<N, Pass>, grid, chunks, blocks, pass);
}

template <typename T, typename Pass>
void launch_pass(const Launch& on, const Cut& cut, const Pass& pass) {
  constexpr int N = kPackOf<T>;
  if (cut.pack == N && pass.wide()) return launch_pass_of<N>(on, cut, pass);
  launch_pass_of<1>(on, cut, pass);
}

template <int N, typename Statistic, typename Pass>
void launch_reduction_of(const Launch& on, const Cut& cut, const Statistic& statistic, const Pass& pass) {
  if (cut.whole) {
    const Grid grid = cut.whole_grid(N);
    return launch(on, dim3(grid.tiles), kWholeThreads, whole<N, Statistic, Pass>, grid, statistic, pass);
  }
  const Grid grid = cut.piece_grid(N);
  auto* results = static_cast<float*>(on.workspace);
  launch(on, dim3(grid.tiles * static_cast<unsigned>(cut.pieces)), kThreads, reduce_piece<N, Statistic>, grid,
         cut.rows_of_piece, statistic, results);
  launch(on, blocks_for(cut.columns, kCombineColumns), kCombineThreads, combine<Statistic>, cut.rows, cut.columns,
         cut.pieces, cut.rows_of_piece, statistic, results);
  if constexpr (!std::is_same_v<Pass, NoPass>) launch_pass_of<N>(on, cut, pass);
}

// `T`: of the elements. `pass` may read what the statistic's finish() wrote.
template <typename T, typename Statistic, typename Pass = NoPass>
void launch_reduction(const Launch& on, const Cut& cut, const Statistic& statistic, const Pass& pass = {}) {
  constexpr int N = kPackOf<T>;
  if (cut.pack == N && statistic.wide() && pass.wide()) return launch_reduction_of<N>(on, cut, statistic, pass);
  launch_reduction_of<1>(on, cut, statistic, pass);
}

}  // namespace lockstep::channels
