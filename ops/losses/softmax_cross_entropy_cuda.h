// The rows of softmax_cross_entropy on the GPU, each by a group of threads, and the kernels of the gradient, with the loss or
// without. With m the largest logit of a row and S = sum exp(x - m), the loss of the row is
//   log S + (1 - s) (m - x_t) + s / classes * sum (m - x),
// and with shares t of the classes (smoothed: t' = (1 - s) t + s / classes) the sum over the classes of
// t' (log S + m - x). For the gradient the logits stay in registers, or in all the memory on chip, where the row is short enough
// for that; else they are read twice, the second time from a cache. What leads to the logit of the label, one load after
// another, begins before the row has arrived.
#pragma once

#include "ops/losses/loss_sum_cuda.h"
#include "ops/losses/softmax_cross_entropy.h"
#include "ops/softmax/softmax_cuda.h"

namespace lockstep::cross_entropy {

inline constexpr int kHeld = 8;             // packs of a thread: of a row that is held; or in flight
inline constexpr int kInFlight = 4;         // where there are shares beside the logits, or two passes
inline constexpr int kMostThreads = 512;
inline constexpr int kBlocksOfLogits = 2;   // of that many threads, with 64 registers each, where there are logits alone

// What all rows have in common.
struct Rows {
  std::int64_t rows, classes, positions;  // positions of a sample
  double scale;                           // of a row
  double smoothing;
  bool weighted;
  bool shares;  // the target is a share of each class, not a class number

  Rows(const KernelRequest& request, std::size_t inputs, const SoftmaxCrossEntropyOp& loss) {
    const Shape& logits = request.inputs[0].shape;
    classes = logits[-1];
    positions = logits.elements(1, logits.rank() - 1);
    rows = logits[0] * positions;
    scale = loss.scale() / static_cast<double>(positions);
    smoothing = loss.label_smoothing();
    weighted = inputs == 3;
    shares = request.inputs[1].dtype == DType::kF32;
  }
};

// The tensors of a launch. T: of the logits.
template <typename T>
struct Tensors {
  const T* x;
  const std::int32_t* labels;
  const float* shares;   // one of the two is null
  const float* weights;  // null where there are none
  Divisor positions;
  double smoothing;
  double floor;  // smoothing / classes
  bool wide;     // x and shares are aligned for packs

  Tensors(const Launch& on, const Rows& rows, const Divisor& positions, int pack) : positions(positions) {
    x = on.input<T>(0);
    labels = rows.shares ? nullptr : on.input<std::int32_t>(1);
    shares = rows.shares ? on.input<float>(1) : nullptr;
    weights = rows.weighted ? on.input<float>(2) : nullptr;
    smoothing = rows.smoothing;
    floor = rows.smoothing / static_cast<double>(rows.classes);
    const auto elements = static_cast<std::size_t>(pack);
    wide = is_aligned(x, sizeof(T) * elements) && (!rows.shares || is_aligned(shares, sizeof(float) * elements));
  }

  __device__ double weight(std::int64_t row) const { return weights == nullptr ? 1.0 : weights[positions.quotient(row)]; }
  __device__ double smoothed(float share) const { return share * (1.0 - smoothing) + floor; }
};

// ---- A row -----------------------------------------------------------------------------------------

// What is known of a row before its logits have come.
struct RowFacts {
  float factor = 0.0f;      // what the gradient is multiplied by; NaN where the label is no class
  std::int32_t label = -1;  // -1, too, where its logit is not among this thread's
  float of_label = 0.0f;    // that logit

  // The loads that come before those of the logits, and the one that waits for them.
  template <typename T>
  __device__ RowFacts(const RowThread& at, const Tensors<T>& in, double scale) {
    if (at.packs == 0) return;
    factor = static_cast<float>(scale * in.weight(at.row));
    if (in.labels != nullptr) label = in.labels[at.row];
  }
  template <int N, typename T>
  __device__ void find_label(const RowThread& at, const RowGrid& grid, const Tensors<T>& in) {
    if (label < 0 || label >= grid.length) {
      factor = NAN;
    } else if ((label / N & (at.threads - 1)) == at.thread) {
      of_label = to_float(in.x[at.row * grid.length + label]);
      return;
    }
    label = -1;
  }
};

// Once m and S are known.
struct RowResult {
  float largest, sum;
  double shares = 0.0;     // sum t', where there are shares
  float distance = 0.0f;  // where the loss wants it: sum t' (m - x), or without shares sum (m - x)
};

// Of every class as if it were not the label; put_label() then does that one over.
struct LabelGradient {
  float inverse, floor;  // factor / S, and the factor's smoothing

  template <typename T>
  __device__ LabelGradient(const Tensors<T>& in, const RowFacts& row, const RowResult& result) {
    inverse = row.factor / result.sum;
    floor = static_cast<float>(row.factor * in.floor);
  }
  // `e`: exp(x - m) of a class.
  __device__ float operator()(float e, float) const { return fmaf(e, inverse, -floor); }

  // `dx`: of the row. The thread that has stored the label's gradient stores it again.
  template <typename T>
  __device__ void put_label(const Tensors<T>& in, const RowFacts& row, const RowResult& result, T* dx) const {
    if (row.label < 0) return;
    const float e = expf(row.of_label - result.largest);
    // p - 1 in one rounding: factor * (e / S - 1) loses digits where p is near 1.
    dx[row.label] = from_float<T>(
        static_cast<float>((static_cast<double>(e) / result.sum - (1.0 - in.smoothing)) * row.factor - floor));
  }
};

struct ShareGradient {
  double smoothing, floor;
  float factor;
  double of_one;  // sum t' / S

  template <typename T>
  __device__ ShareGradient(const Tensors<T>& in, const RowFacts& row, const RowResult& result)
      : smoothing(in.smoothing), floor(in.floor), factor(row.factor), of_one(result.shares / result.sum) {}
  __device__ float operator()(float e, float share) const {
    return static_cast<float>((e * of_one - (share * (1.0 - smoothing) + floor)) * factor);
  }
};

template <int N, int kPacks>
struct LoadedPacks {
  float x[kPacks][N], share[kPacks][N];

  template <bool kShares, typename T>
  __device__ void load(const RowThread& at, const RowGrid& grid, const Tensors<T>& in, std::int64_t base) {
    const std::int64_t first = at.row * grid.length;
    at.for_packs<kPacks, N>(base, [&](int p, std::int64_t i) {
      T elements[N];
      load_elements(in.x + first + i, N, in.wide, elements);
#pragma unroll
      for (int k = 0; k < N; ++k) x[p][k] = to_float(elements[k]);
      if constexpr (kShares) load_elements(in.shares + first + i, N, in.wide, share[p]);
    });
  }
  // Adds the smoothed shares.
  template <typename T>
  __device__ void add_shares(const RowThread& at, const Tensors<T>& in, std::int64_t base, double& sum) const {
    at.for_packs<kPacks, N>(base, [&](int p, std::int64_t) {
#pragma unroll
      for (int k = 0; k < N; ++k) sum += in.smoothed(share[p][k]);
    });
  }
};

// What the loss wants of the logits of a thread, of which m is the largest of the row.
template <bool kShares, int N, int kPacks, typename T>
__device__ inline float distance_of(const RowThread& at, const Tensors<T>& in, const LoadedPacks<N, kPacks>& row,
                                    std::int64_t base, float m) {
  float out = 0.0f;
  at.for_packs<kPacks, N>(base, [&](int p, std::int64_t) {
#pragma unroll
    for (int k = 0; k < N; ++k) {
      const float share = kShares ? static_cast<float>(in.smoothed(row.share[p][k])) : 1.0f;
      if (share != 0.0f) out = fmaf(share, m - row.x[p][k], out);  // else it may be infinitely far
    }
  });
  return out;
}

template <bool kShares>
using RowGradient = std::conditional_t<kShares, ShareGradient, LabelGradient>;

// ---- What a kernel of the gradient is for ----------------------------------------------------------

// The gradient alone, for a cotangent.
struct GradientAlone {
  static constexpr bool kLoss = false;
  double scale;
  const float* cotangent;

  __device__ double factor() const { return scale * *cotangent; }
};

// The loss as well, for a cotangent of 1.
struct GradientAndLoss {
  static constexpr bool kLoss = true;
  LossSum sum;

  __device__ double factor() const { return sum.scale; }
};

// The loss of a row, weighted, in one thread of its group: that which knows the logit of the label, or the first. The others
// have 0.
template <bool kShares, typename T>
__device__ inline double loss_of(const RowThread& at, const Tensors<T>& in, const RowFacts& facts, const RowResult& result) {
  if (at.packs == 0) return 0.0;
  const float log_sum = logf(result.sum);
  if constexpr (kShares) {
    if (at.thread != 0) return 0.0;
    return in.weight(at.row) * fmaf(static_cast<float>(result.shares), log_sum, result.distance);
  } else {
    const bool unknown = facts.factor != facts.factor && at.thread == 0;  // the label is no class
    if (facts.label < 0) return unknown ? static_cast<double>(NAN) : 0.0;
    const float to_label = result.largest - facts.of_label;
    if (in.smoothing == 0.0) return in.weight(at.row) * (log_sum + to_label);
    return in.weight(at.row) *
           static_cast<float>(log_sum + (1.0 - in.smoothing) * to_label + in.floor * result.distance);
  }
}

// ---- Kernels ---------------------------------------------------------------------------------------

// Each block has one row of groups after another: Row(at) computes the gradients of the row of this thread's group and returns
// its loss.
template <typename End, typename Row>
__device__ inline void for_rows(const RowGrid& grid, const End& end, const Row& row) {
  if constexpr (End::kLoss) {
    const std::int64_t rows_of_block = blockDim.x >> grid.shift;
    double total = 0.0;
    for (std::int64_t block = blockIdx.x; block * rows_of_block < grid.rows; block += gridDim.x) {
      total += row(RowThread(grid, block));
    }
    give_part(end.sum, total);
  } else {
    row(RowThread(grid, blockIdx.x));
  }
}

// The P packs of a thread stay in its registers.
template <int N, int P, bool kShares, typename T, typename End>
__device__ inline double held_row(const RowThread& at, const RowGrid& grid, const Tensors<T>& in, const End& end, T* dx,
                                  bool wide) {
  RowFacts facts(at, in, end.factor());
  LoadedPacks<N, P> row;
  row.template load<kShares>(at, grid, in, 0);
  if constexpr (!kShares) facts.template find_label<N>(at, grid, in);
  RowResult result;
  float largest = -INFINITY, sum = 0.0f;
  at.for_packs<P, N>([&](int p, std::int64_t) { largest = fmaxf(largest, largest_of(row.x[p])); });
  result.largest = at.largest(largest);
  if (End::kLoss && (kShares || in.smoothing != 0.0)) {
    result.distance = at.sum(distance_of<kShares>(at, in, row, 0, result.largest));
  }
  at.for_packs<P, N>([&](int p, std::int64_t) {
#pragma unroll
    for (int k = 0; k < N; ++k) sum += row.x[p][k] = expf(row.x[p][k] - result.largest);
  });
  result.sum = at.sum(sum);
  if constexpr (kShares) {
    double all = 0.0;
    row.add_shares(at, in, 0, all);
    result.shares = at.sum(all);
  }
  const RowGradient<kShares> gradient(in, facts, result);
  at.for_packs<P, N>([&](int p, std::int64_t i) {
    T d[N];
#pragma unroll
    for (int k = 0; k < N; ++k) d[k] = from_float<T>(gradient(row.x[p][k], kShares ? row.share[p][k] : 0.0f));
    store_pack_at(dx + at.row * grid.length, i, wide, d);
  });
  if constexpr (!kShares) gradient.put_label(in, facts, result, dx + at.row * grid.length);
  if constexpr (End::kLoss) return loss_of<kShares>(at, in, facts, result);
  return 0.0;
}

template <int N, int P, bool kShares, typename T, typename End>
__global__ void __launch_bounds__(kMostThreads, kShares || End::kLoss ? 1 : kBlocksOfLogits)
    gradient_held(RowGrid grid, Tensors<T> in, End end, T* dx, bool wide) {
  for_rows(grid, end, [&](const RowThread& at) { return held_row<N, P, kShares>(at, grid, in, end, dx, wide); });
}

// A block holds a row on chip. The targets are labels.
template <typename Wide, typename End>
__device__ inline double row_on_chip(const RowThread& at, const RowGrid& grid, const Tensors<float>& in, const End& end,
                                     float* dx) {
  constexpr int N = LongLogits::N;
  const std::int64_t first = at.row * grid.length;
  RowFacts facts(at, in, end.factor());
  LongLogits row({in.x + first}, static_cast<int>(grid.packs), Wide{});
  facts.template find_label<N>(at, grid, in);
  RowResult result;
  float largest = -INFINITY, sum = 0.0f;
  row.each([&](const float(&x)[1][N], int) { largest = fmaxf(largest, largest_of(x[0])); });
  result.largest = at.largest(largest);
  if (End::kLoss && in.smoothing != 0.0) {
    float distance = 0.0f;
    row.each([&](const float(&x)[1][N], int) {
#pragma unroll
      for (int k = 0; k < N; ++k) distance += result.largest - x[0][k];
    });
    result.distance = at.sum(distance);
  }
  row.change([&](float(&x)[1][N], int) {
#pragma unroll
    for (int k = 0; k < N; ++k) sum += x[0][k] = expf(x[0][k] - result.largest);
  });
  result.sum = at.sum(sum);
  const LabelGradient gradient(in, facts, result);
  row.each([&](const float(&x)[1][N], int i) {
    float d[N];
#pragma unroll
    for (int k = 0; k < N; ++k) d[k] = gradient(x[0][k], 0.0f);
    store_elements(dx + first + i, N, Wide::value, d);
  });
  gradient.put_label(in, facts, result, dx + first);
  if constexpr (End::kLoss) return loss_of<false>(at, in, facts, result);
  return 0.0;
}

template <typename Wide, typename End>
__global__ void __launch_bounds__(LongLogits::kBlock, 2)
    gradient_on_chip(RowGrid grid, Tensors<float> in, End end, float* dx) {
  const double loss = row_on_chip<Wide>(RowThread(grid, blockIdx.x), grid, in, end, dx);
  if constexpr (End::kLoss) give_part(end.sum, loss);
}

// The row is read twice.
template <int N, bool kShares, typename T, typename End>
__device__ inline double long_row(const RowThread& at, const RowGrid& grid, const Tensors<T>& in, const End& end, T* dx,
                                  bool wide) {
  RowFacts facts(at, in, end.factor());
  if constexpr (!kShares) facts.template find_label<N>(at, grid, in);
  const std::int64_t step = std::int64_t{at.threads} * kInFlight;
  LoadedPacks<N, kInFlight> row;
  Exponentials mine;
  double all = 0.0;
  for (std::int64_t base = 0; base < at.packs; base += step) {
    fill(row.x, -INFINITY);
    row.template load<kShares>(at, grid, in, base);
    mine.add(row.x);
    if constexpr (kShares) row.add_shares(at, in, base, all);
  }
  RowResult result;
  result.largest = at.largest(mine.largest);
  mine.rise(result.largest);
  result.sum = at.sum(mine.sum);
  result.shares = kShares ? at.sum(all) : 0.0;
  const RowGradient<kShares> gradient(in, facts, result);
  float distance = 0.0f;
  for (std::int64_t base = 0; base < at.packs; base += step) {
    row.template load<kShares>(at, grid, in, base);
    if (End::kLoss && (kShares || in.smoothing != 0.0)) distance += distance_of<kShares>(at, in, row, base, result.largest);
    at.for_packs<kInFlight, N>(base, [&](int p, std::int64_t i) {
      T d[N];
#pragma unroll
      for (int k = 0; k < N; ++k) {
        d[k] = from_float<T>(gradient(expf(row.x[p][k] - result.largest), kShares ? row.share[p][k] : 0.0f));
      }
      store_pack_at(dx + at.row * grid.length, i, wide, d);
    });
  }
  if constexpr (!kShares) gradient.put_label(in, facts, result, dx + at.row * grid.length);
  if constexpr (!End::kLoss) return 0.0;
  if (kShares || in.smoothing != 0.0) result.distance = at.sum(distance);
  return loss_of<kShares>(at, in, facts, result);
}

template <int N, bool kShares, typename T, typename End>
__global__ void __launch_bounds__(kMostThreads)
    gradient_long(RowGrid grid, Tensors<T> in, End end, T* dx, bool wide) {
  for_rows(grid, end, [&](const RowThread& at) { return long_row<N, kShares>(at, grid, in, end, dx, wide); });
}

// ---- Launches --------------------------------------------------------------------------------------

// How the rows of a gradient are divided, and which kernel computes them.
struct GradientLaunch {
  Rows rows;
  RowGroups groups;
  bool on_chip;
  Divisor positions;

  // `low`: the logits are bf16.
  GradientLaunch(const Rows& r, bool low)
      : rows(r), groups(r.rows, r.classes, kPackOf<float>, kHeld, kMostThreads), positions(r.positions, r.rows) {
    on_chip = !low && !rows.shares && groups.of_thread > kHeld && LongLogits::fits(rows.classes);
    if (on_chip) groups.give_block_each(LongLogits::kBlock);
  }

  // Blocks that give a part of the loss. Rows on chip leave no registers for more than one of them.
  std::int64_t loss_blocks() const {
    return std::max<std::int64_t>(1, on_chip ? groups.chunks() : std::min(groups.chunks(), kMostLossBlocks));
  }

  template <typename T, typename End>
  void run(const Launch& on, dim3 blocks, const End& end, T* dx) const {
    if (on_chip) {
      if constexpr (std::is_same_v<T, float>) run_on_chip(on, blocks, end, dx);
    } else if (groups.pack == 1) {
      rows.shares ? run_of<1, true>(on, blocks, end, dx) : run_of<1, false>(on, blocks, end, dx);
    } else {
      constexpr int N = kPackOf<float>;
      rows.shares ? run_of<N, true>(on, blocks, end, dx) : run_of<N, false>(on, blocks, end, dx);
    }
  }

 private:
  template <typename End>
  void run_on_chip(const Launch& on, dim3 blocks, const End& end, float* dx) const {
    const Tensors<float> in(on, rows, positions, LongLogits::N);
    const auto kernel =
        in.wide && is_aligned(dx, 16) ? gradient_on_chip<std::true_type, End> : gradient_on_chip<std::false_type, End>;
    launch(on, blocks, groups.block, kernel, groups.grid(), in, end, dx);
  }
  template <int N, bool kShares, typename T, typename End>
  void run_of(const Launch& on, dim3 blocks, const End& end, T* dx) const {
    const auto kernel = groups.of_thread == 1       ? gradient_held<N, 1, kShares, T, End>
                        : groups.of_thread <= kHeld ? gradient_held<N, kHeld, kShares, T, End>
                                                    : gradient_long<N, kShares, T, End>;
    launch(on, blocks, groups.block, kernel, groups.grid(), Tensors<T>(on, rows, positions, N), end, dx,
           is_aligned(dx, sizeof(T) * N));
  }
};

}  // namespace lockstep::cross_entropy
