// Transposition of matrices on the GPU, with a conversion of the elements where the types differ.
#pragma once

#include "core/kernel/cuda_elementwise.h"

namespace lockstep {

namespace transpose {

constexpr int kTile = 32;  // rows and columns of a block; a thread has four elements

// The same bits where the types are equal, whatever they are.
template <typename To, typename From>
__device__ inline To converted(From value) {
  if constexpr (std::is_same_v<To, From>) {
    return value;
  } else {
    return from_float<To>(to_float(value));
  }
}

// One column more than the tile, so that neither rows nor columns meet in one bank of the shared memory.
template <typename From, typename To>
__global__ void __launch_bounds__(kThreads)
    run(const From* from, To* to, std::int64_t rows, std::int64_t columns, std::int64_t column_tiles) {
  __shared__ To tile[kTile][kTile + 1];
  const std::int64_t row_tile = blockIdx.x / column_tiles, column_tile = blockIdx.x - row_tile * column_tiles;
  const int x = static_cast<int>(threadIdx.x) % kTile, y = static_cast<int>(threadIdx.x) / kTile;
  constexpr int kStep = kThreads / kTile;
#pragma unroll
  for (int i = 0; i < kTile; i += kStep) {
    const std::int64_t row = row_tile * kTile + y + i, column = column_tile * kTile + x;
    if (row < rows && column < columns) tile[y + i][x] = converted<To>(from[row * columns + column]);
  }
  __syncthreads();
#pragma unroll
  for (int i = 0; i < kTile; i += kStep) {
    const std::int64_t row = row_tile * kTile + x, column = column_tile * kTile + y + i;
    if (row < rows && column < columns) to[column * rows + row] = tile[x][y + i];
  }
}

}  // namespace transpose

// to (columns, rows) = from (rows, columns), both row-major, in different memory.
template <typename From, typename To>
void launch_transpose(const Launch& on, const From* from, To* to, std::int64_t rows, std::int64_t columns) {
  const std::int64_t row_tiles = (rows + transpose::kTile - 1) / transpose::kTile;
  const std::int64_t column_tiles = (columns + transpose::kTile - 1) / transpose::kTile;
  launch(on, dim3(static_cast<unsigned>(row_tiles * column_tiles)), kThreads, transpose::run<From, To>, from, to, rows,
         columns, column_tiles);
}

}  // namespace lockstep
