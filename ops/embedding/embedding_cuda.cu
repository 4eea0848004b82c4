// CUDA kernels of the embedding.
//
// Backward: the positions of each id are listed in order (a counting sort in one launch: a block has a few rows of the table
// and reads all ids twice), then each row of the table is added up from its list. A row that occurs often would keep
// one warp busy while the others have nothing to do: lists of more than kPiece positions are added in pieces, side by side,
// and the pieces are added in order. So the sum of a row depends on the ids alone; rows of up to kPiece positions have the
// bits of adding one after another.
#include <limits>

#include "core/kernel/cuda_elementwise.h"
#include "ops/embedding/embedding.h"

namespace lockstep {
namespace {

// ---- Forward -------------------------------------------------------------------------------------

// Element i is an element of the row that ids[i / dim] names; NaN where it names none.
struct NamedRows {
  using Element = float;
  static constexpr std::size_t kSize = sizeof(float);
  static constexpr bool wide = true;

  std::int64_t vocabulary;
  Divisor dim;
  const float* table = nullptr;
  const std::int32_t* ids = nullptr;
  bool packs = false;  // a pack is within a row, and aligned

  NamedRows of(const Launch& on) const {
    NamedRows out = *this;
    out.table = on.input<float>(0);
    out.ids = on.input<std::int32_t>(1);
    return out;
  }
  template <int N>
  void prepare() {
    packs = dim.divisor % N == 0 && is_aligned(table, kAccess<float, N>);
  }
  __device__ bool has(std::int64_t id) const { return id >= 0 && id < vocabulary; }
  template <bool kFast, int N>
  __device__ void load(std::int64_t i, int n, float (&to)[N]) const {
    const float nan = __uint_as_float(0x7fc00000u);
    if (packs) {
      const std::int64_t row = dim.quotient(i), id = ids[row];
      if (has(id)) return load_pack(table + id * dim.divisor + (i - row * dim.divisor), to);
#pragma unroll
      for (int k = 0; k < N; ++k) to[k] = nan;
      return;
    }
#pragma unroll
    for (int k = 0; k < N; ++k) {
      to[k] = nan;
      if (!kFast && k >= n) continue;
      const std::int64_t row = dim.quotient(i + k), id = ids[row];
      if (has(id)) to[k] = table[id * dim.divisor + (i + k - row * dim.divisor)];
    }
  }
};

struct Same {
  __device__ float operator()(float x) const { return x; }
};

Kernel embedding_cuda(const KernelRequest& request) {
  const std::int64_t count = request.outputs[0].elements();
  const Shape& table = request.inputs[0].shape;
  const NamedRows rows{table[0], Divisor(table[1], count)};
  return {"embedding_cuda",
          [=](const Launch& on) { launch_elementwise(on, count, on.output<float>(0), Same{}, rows.of(on)); }};
}

// ---- Backward: the positions of each id ------------------------------------------------------------

constexpr int kSortThreads = 1024;
constexpr int kSortWarps = kSortThreads / kWarp;
constexpr int kMostRows = 256;  // of the table, that a block has: all blocks are there at once up to 67,000 rows
constexpr int kIds = 4;         // that a lane loads at once

// order[start[r]], ..., order[start[r + 1] - 1] are the positions of id r in `ids`, ascending.
struct Positions {
  const std::int32_t* ids;
  std::int32_t *order, *start;
  std::int32_t count, vocabulary;
};

__device__ inline int warp_sum_of(int value) {
  for (int step = kWarp / 2; step > 0; step /= 2) value += __shfl_xor_sync(0xffffffffu, value, step);
  return value;
}
// The sum of the values of this lane and those below.
__device__ inline int warp_scan(int value, int lane) {
  for (unsigned step = 1; step < kWarp; step *= 2) {
    const int below = __shfl_up_sync(0xffffffffu, value, step);
    if (lane >= static_cast<int>(step)) value += below;
  }
  return value;
}

// Calls visit(row, lanes, position) for the ids in [begin, begin + rows) of a warp's part of the list, in order: all lanes
// with the same row at once, `lanes` as a mask. Returns how many ids the lane saw below `begin`.
template <typename Visit>
__device__ inline int visit_ids(const Positions& positions, int begin, int rows, int warp, int lane, const Visit& visit) {
  // Parts of whole warps' widths.
  const int part = (positions.count + kSortThreads - 1) / kSortThreads * kWarp;
  const std::int64_t first = static_cast<std::int64_t>(warp) * part;
  const std::int64_t end = first + part < positions.count ? first + part : positions.count;
  int below = 0;
  for (std::int64_t at = first; at < end; at += kIds * kWarp) {
    int id[kIds];
#pragma unroll
    for (int u = 0; u < kIds; ++u) {
      const std::int64_t i = at + u * kWarp + lane;
      id[u] = i < end ? positions.ids[i] : -1;
    }
#pragma unroll
    for (int u = 0; u < kIds; ++u) {
      below += id[u] >= 0 && id[u] < begin;
      const bool mine = id[u] >= begin && id[u] - begin < rows;
      unsigned left = __ballot_sync(0xffffffffu, mine);
      while (left != 0) {
        const int row = __shfl_sync(0xffffffffu, id[u] - begin, __ffs(static_cast<int>(left)) - 1);
        const unsigned lanes = __ballot_sync(0xffffffffu, mine && id[u] - begin == row);
        visit(row, lanes, static_cast<int>(at + u * kWarp + lane));
        left &= ~lanes;
      }
    }
  }
  return below;
}

__global__ void __launch_bounds__(kSortThreads) sort_ids(Positions positions, int rows_of_block) {
  __shared__ int found[kMostRows][kSortWarps];  // by row and warp: how many, then how many before those
  __shared__ int row_start[kMostRows];
  __shared__ int below_of_warp[kSortWarps];
  const int warp = static_cast<int>(threadIdx.x) / kWarp, lane = static_cast<int>(threadIdx.x) % kWarp;
  const int begin = static_cast<int>(blockIdx.x) * rows_of_block;
  const int left = positions.vocabulary - begin, rows = left < rows_of_block ? left : rows_of_block;
  for (int row = warp; row < rows; row += kSortWarps) found[row][lane] = 0;
  __syncthreads();
  const int below = visit_ids(positions, begin, rows, warp, lane, [&](int row, unsigned lanes, int) {
    if (lane == 0) found[row][warp] += __popc(lanes);
  });
  const int below_of_all_lanes = warp_sum_of(below);
  if (lane == 0) below_of_warp[warp] = below_of_all_lanes;
  __syncthreads();
  for (int row = warp; row < rows; row += kSortWarps) {
    const int own = found[row][lane], sum = warp_scan(own, lane);
    found[row][lane] = sum - own;
    if (lane == kWarp - 1) row_start[row] = sum;
  }
  __syncthreads();
  if (warp == 0) {
    int before = warp_sum_of(below_of_warp[lane]);
    for (int first = 0; first < rows; first += kWarp) {
      const int row = first + lane, own = row < rows ? row_start[row] : 0, sum = warp_scan(own, lane);
      if (row < rows) positions.start[begin + row] = row_start[row] = before + sum - own;
      before += __shfl_sync(0xffffffffu, sum, kWarp - 1);
    }
    if (lane == 0 && begin + rows == positions.vocabulary) positions.start[positions.vocabulary] = before;
  }
  __syncthreads();
  visit_ids(positions, begin, rows, warp, lane, [&](int row, unsigned lanes, int position) {
    int place = 0;
    if (lane == 0) {
      place = row_start[row] + found[row][warp];
      found[row][warp] += __popc(lanes);
    }
    place = __shfl_sync(0xffffffffu, place, 0);
    const unsigned me = 1u << lane;
    if ((lanes & me) != 0) positions.order[place + __popc(lanes & (me - 1))] = position;
  });
}

// ---- Backward: the sums ----------------------------------------------------------------------------

constexpr int kPiece = 32;

struct Sums {
  Positions positions;
  const float* dy;
  float* y;
  float* piece_sums;      // (pieces, 2, dim): of the row that the piece begins in, and of the one that it ends in
  std::int32_t dim;
  std::int32_t row_blocks;  // of the grid, then those of the pieces
  int width;              // threads that have a row together
};

// The sum of the rows of dy at order[begin], ..., order[end - 1], one after another, for the packs of columns that thread t of
// a group has. Most lists are short, so it has two packs of each row in flight.
template <int N>
__device__ inline void store_sum(const Sums& sums, int begin, int end, int t, float* to, std::int64_t row) {
  constexpr int kRows = 4, kColumns = 2;  // in flight
  const int packs = sums.dim / N;
  for (int pack = t; pack < packs; pack += kColumns * sums.width) {
    const auto has = [&](int c) { return pack + c * sums.width < packs; };
    // Products with N: the compiler stores a pack at once only where it sees that the pack is aligned.
    const auto offset = [&](std::int64_t r, int c) { return (r * packs + pack + c * sums.width) * N; };
    float sum[kColumns][N] = {};
    for (int at = begin; at < end; at += kRows) {
      float v[kRows][kColumns][N];
#pragma unroll
      for (int u = 0; u < kRows; ++u) {
        if (at + u >= end) break;
        const std::int64_t position = sums.positions.order[at + u];
#pragma unroll
        for (int c = 0; c < kColumns; ++c) {
          if (has(c)) load_pack(sums.dy + offset(position, c), v[u][c]);
        }
      }
#pragma unroll
      for (int u = 0; u < kRows; ++u) {
        if (at + u >= end) break;
#pragma unroll
        for (int c = 0; c < kColumns; ++c) {
          if (!has(c)) continue;
#pragma unroll
          for (int k = 0; k < N; ++k) sum[c][k] += v[u][c][k];
        }
      }
    }
#pragma unroll
    for (int c = 0; c < kColumns; ++c) {
      if (has(c)) store_pack(to + offset(row, c), sum[c]);
    }
  }
}

struct Piece {
  int begin, end = 0;
  int first_row = 0, last_row = 0;  // of the table
  bool empty = true;

  __device__ Piece(const Positions& positions, int number) : begin(number * kPiece) {
    const int total = positions.start[positions.vocabulary];
    empty = begin >= total;
    if (empty) return;
    end = begin + kPiece < total ? begin + kPiece : total;
    first_row = positions.ids[positions.order[begin]];
    last_row = positions.ids[positions.order[end - 1]];
  }
};
__device__ inline bool is_long(const Positions& positions, int row) {
  return positions.start[row + 1] - positions.start[row] > kPiece;
}

template <int N>
__global__ void __launch_bounds__(kThreads, 4) sum_rows(const __grid_constant__ Sums sums) {
  const Positions& positions = sums.positions;
  const int groups = kThreads / sums.width, group = static_cast<int>(threadIdx.x) / sums.width;
  const int t = static_cast<int>(threadIdx.x) - group * sums.width;
  if (group >= groups) return;
  if (static_cast<int>(blockIdx.x) < sums.row_blocks) {
    const std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * groups + group;
    if (row >= positions.vocabulary) return;
    const int begin = positions.start[row], end = positions.start[row + 1];
    if (end - begin <= kPiece) store_sum<N>(sums, begin, end, t, sums.y, row);
    return;
  }
  const int number = (static_cast<int>(blockIdx.x) - sums.row_blocks) * groups + group;
  const Piece piece(positions, number);
  if (piece.empty) return;
  const std::int64_t to = static_cast<std::int64_t>(number) * 2;
  if (is_long(positions, piece.first_row)) {
    const int end = positions.start[piece.first_row + 1];
    store_sum<N>(sums, piece.begin, end < piece.end ? end : piece.end, t, sums.piece_sums, to);
  }
  if (piece.last_row != piece.first_row && is_long(positions, piece.last_row)) {
    store_sum<N>(sums, positions.start[piece.last_row], piece.end, t, sums.piece_sums, to + 1);
  }
}

// The block of a piece that a long row begins in adds up the pieces of the row: each lane a run of them, then the lanes in
// order.
__global__ void __launch_bounds__(kThreads) join_pieces(const __grid_constant__ Sums sums) {
  __shared__ float of_lane[kThreads];
  const Positions& positions = sums.positions;
  const int number = static_cast<int>(blockIdx.x);
  const Piece piece(positions, number);
  if (piece.empty || !is_long(positions, piece.last_row) || positions.start[piece.last_row] < piece.begin) return;
  const int lanes = kThreads / sums.width, lane = static_cast<int>(threadIdx.x) / sums.width;
  const int t = static_cast<int>(threadIdx.x) - lane * sums.width;
  const int pieces = (positions.start[piece.last_row + 1] - 1) / kPiece - number + 1;
  const int of_each = (pieces + lanes - 1) / lanes;
  const int first = lane * of_each, after = first + of_each < pieces ? first + of_each : pieces;
  for (int begin = 0; begin < sums.dim; begin += sums.width) {
    const int column = begin + t;
    float sum = 0.0f;
    if (lane < lanes && column < sums.dim) {
#pragma unroll 8
      for (int i = first; i < after; ++i) {
        const bool second = i == 0 && piece.last_row != piece.first_row;
        const std::int64_t at = static_cast<std::int64_t>(number + i) * 2 + (second ? 1 : 0);
        sum += sums.piece_sums[at * sums.dim + column];
      }
    }
    __syncthreads();
    of_lane[threadIdx.x] = sum;
    __syncthreads();
    if (lane == 0 && column < sums.dim) {
      for (int other = 1; other < lanes && other * of_each < pieces; ++other) {
        sum += of_lane[other * sums.width + t];
      }
      sums.y[static_cast<std::int64_t>(piece.last_row) * sums.dim + column] = sum;
    }
  }
}

// The launches, and where the workspace has what.
struct Backward {
  std::int64_t vocabulary, dim, count;
  int rows_of_block;  // of sort_ids
  int width;
  std::int64_t pieces;

  Backward(std::int64_t vocabulary, std::int64_t dim, std::int64_t count)
      : vocabulary(vocabulary), dim(dim), count(count) {
    constexpr std::int64_t kMost = std::numeric_limits<std::int32_t>::max();
    check_input(vocabulary < kMost && dim < kMost && count < kMost - kThreads, "embedding_backward: a table of ",
                vocabulary, " x ", dim, " and ", count, " ids are too many for a GPU's kernel, at most ", kMost);
    constexpr std::int64_t kBlocks = 264;  // that read all ids: two for each multiprocessor
    rows_of_block = static_cast<int>(std::clamp<std::int64_t>((vocabulary + kBlocks - 1) / kBlocks, 1, kMostRows));
    width = static_cast<int>(std::clamp<std::int64_t>((dim + 3) / 4, 1, kWarp));
    pieces = count > kPiece ? (count + kPiece - 1) / kPiece : 0;  // else there are no long rows
  }
  static std::size_t aligned(std::int64_t bytes) {
    return (static_cast<std::size_t>(bytes) + kMemoryAlignment - 1) / kMemoryAlignment * kMemoryAlignment;
  }
  std::size_t order_bytes() const { return aligned(count * 4); }
  std::size_t start_bytes() const { return aligned((vocabulary + 1) * 4); }
  std::size_t workspace_bytes() const { return order_bytes() + start_bytes() + aligned(pieces * 2 * dim * 4); }

  void run(const Launch& on) const {
    auto* workspace = static_cast<std::byte*>(on.workspace);
    Sums sums = {};
    sums.positions = {on.input<std::int32_t>(1), reinterpret_cast<std::int32_t*>(workspace),
                      reinterpret_cast<std::int32_t*>(workspace + order_bytes()), static_cast<std::int32_t>(count),
                      static_cast<std::int32_t>(vocabulary)};
    sums.dy = on.input<float>(0);
    sums.y = on.output<float>(0);
    sums.piece_sums = reinterpret_cast<float*>(workspace + order_bytes() + start_bytes());
    sums.dim = static_cast<std::int32_t>(dim);
    sums.width = width;
    const std::int64_t groups = kThreads / width;
    sums.row_blocks = static_cast<std::int32_t>((vocabulary + groups - 1) / groups);
    launch(on, blocks_for(vocabulary, rows_of_block), kSortThreads, sort_ids, sums.positions, rows_of_block);
    const bool packs = dim % 4 == 0 && is_aligned(sums.dy, 16) && is_aligned(sums.y, 16);
    launch(on, dim3(static_cast<unsigned>(sums.row_blocks + (pieces + groups - 1) / groups)), kThreads,
           packs ? sum_rows<4> : sum_rows<1>, sums);
    launch(on, dim3(static_cast<unsigned>(pieces)), kThreads, join_pieces, sums);
  }
};

Kernel embedding_backward_cuda(const KernelRequest& request) {
  const Shape& table = request.outputs[0].shape;
  const Backward backward(table[0], table[1], request.inputs[1].elements());
  if (table.elements() == 0) return {"embedding_backward_cuda (empty)", [](const Launch&) {}};
  return {"embedding_backward_cuda", [=](const Launch& on) { backward.run(on); }, backward.workspace_bytes()};
}

}  // namespace

void register_embedding_cuda(KernelRegistry& registry) {
  registry.add("embedding", DeviceKind::kCuda, {embedding_cuda, nullptr});
  registry.add("embedding_backward", DeviceKind::kCuda, {embedding_backward_cuda, nullptr});
}

}  // namespace lockstep
