// CUDA kernels of softmax_cross_entropy, a row of logits by a group of threads. With m the largest logit of a row and S = sum
// exp(x - m), the loss of the row is
//   log S + (1 - s) (m - x_t) + s / classes * sum (m - x),
// and with shares t of the classes (smoothed: t' = (1 - s) t + s / classes) the sum over the classes of
// t' (log S + m - x). Forward, the logits are read once: m is the largest so far, and sums move along with it. Backward, they
// stay in registers, or in all the memory on chip, where the row is short enough for that; else they are read twice, the second
// time from a cache. What leads to the logit of the label, one load after another, begins before the row has arrived.
#include "ops/losses/loss.h"
#include "ops/losses/loss_sum_cuda.h"
#include "ops/losses/softmax_cross_entropy.h"
#include "ops/softmax/softmax_cuda.h"

namespace lockstep {
namespace {

constexpr int kHeld = 8;             // packs of a thread: of a row that is held; or in flight
constexpr int kInFlight = 4;         // where there are shares beside the logits, or two passes
constexpr int kMostThreads = 512;
constexpr int kBlocksOfLogits = 2;   // of that many threads, with 64 registers each, where there are logits alone
constexpr std::int64_t kFew = 8192;  // logits up to which one block is faster than two launches

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

// The tensors of a launch.
struct Tensors {
  const float* x;
  const std::int32_t* labels;
  const float* shares;   // one of the two is null
  const float* weights;  // null where there are none
  Divisor positions;
  double smoothing;
  double floor;  // smoothing / classes
  bool wide;     // x and shares

  __device__ double weight(std::int64_t row) const { return weights == nullptr ? 1.0 : weights[positions.quotient(row)]; }
  __device__ double smoothed(float share) const { return share * (1.0 - smoothing) + floor; }
};

// Sums over the classes that a thread has seen, of distances from the largest logit so far.
struct Distances {
  Exponentials exponentials;
  float shares = 0.0f;    // sum t'
  float distance = 0.0f;  // sum t' (m - x)

  __device__ void rise(float value) {
    const float moved = exponentials.rise(value);
    if (moved > 0.0f && shares != 0.0f) distance = fmaf(shares, moved, distance);
  }
  // The elements of a pack, none of which is above the largest.
  template <int N>
  __device__ void add_below(const float (&x)[N], const float (&share)[N]) {
    const float from = exponentials.base();
#pragma unroll
    for (int k = 0; k < N; ++k) {
      if (share[k] == 0.0f) continue;  // such a class may be infinitely far
      shares += share[k];
      distance = fmaf(share[k], from - x[k], distance);
    }
  }
};

// The loss of one row, in thread 0 of its group. kEach: all classes have a share, by the target or by smoothing.
template <int N, bool kShares, bool kEach>
__device__ float row_loss(const RowThread& at, const RowGrid& grid, const Tensors& in) {
  constexpr int P = kShares ? kInFlight : kHeld;
  const std::int64_t first = at.row * grid.length, step = std::int64_t{at.threads} * P;
  const bool results = at.thread == 0 && at.packs > 0;
  std::int32_t label = -1;
  if (!kShares && results) label = in.labels[at.row];
  Distances mine;
  for (std::int64_t base = 0; base < at.packs; base += step) {
    float x[P][N], share[P][N];
    fill(x, -INFINITY);
    at.for_packs<P, N>(base, [&](int p, std::int64_t i) {
      load_elements(in.x + first + i, N, in.wide, x[p]);
      if constexpr (kShares) load_elements(in.shares + first + i, N, in.wide, share[p]);
    });
    mine.rise(largest_of(x));
#pragma unroll
    for (int p = 0; p < P; ++p) mine.exponentials.add_below(x[p]);
    if constexpr (kEach) {
      at.for_packs<P, N>(base, [&](int p, std::int64_t) {
#pragma unroll
        for (int k = 0; k < N; ++k) share[p][k] = kShares ? static_cast<float>(in.smoothed(share[p][k])) : 1.0f;
        mine.add_below(x[p], share[p]);
      });
    }
  }
  const bool known = label >= 0 && label < grid.length;
  const float of_label = known ? in.x[first + label] : NAN;
  const float largest = at.largest(mine.exponentials.largest);
  mine.rise(largest);
  const float log_sum = logf(at.sum(mine.exponentials.sum));
  const float distance = kEach ? at.sum(mine.distance) : 0.0f;
  if constexpr (kShares) {
    const float shares = at.sum(mine.shares);
    return fmaf(shares, log_sum, distance);
  } else {
    if (!results) return 0.0f;
    if (!known) return NAN;
    const float to_label = largest - of_label;
    if constexpr (!kEach) return log_sum + to_label;
    return static_cast<float>(log_sum + (1.0 - in.smoothing) * to_label + in.floor * distance);
  }
}

template <int N, bool kShares, bool kEach>
__global__ void __launch_bounds__(kMostThreads, kBlocksOfLogits) cross_entropy(RowGrid grid, Tensors in, LossSum sum) {
  const std::int64_t rows_of_block = blockDim.x >> grid.shift;
  double total = 0.0;
  for (std::int64_t block = blockIdx.x; block * rows_of_block < grid.rows; block += gridDim.x) {
    const RowThread at(grid, block);
    const float loss = row_loss<N, kShares, kEach>(at, grid, in);
    if (at.thread == 0 && at.packs > 0) total += in.weight(at.row) * loss;
  }
  give_part(sum, total);
}

// ---- Backward ------------------------------------------------------------------------------------

// What is known of a row before its logits have come.
struct RowFacts {
  float factor = 0.0f;      // what the gradient is multiplied by; NaN where the label is no class
  std::int32_t label = -1;  // -1, too, where its logit is not among this thread's
  float of_label = 0.0f;    // that logit

  // The loads that come before those of the logits, and the one that waits for them.
  __device__ RowFacts(const RowThread& at, const Tensors& in, double scale, const float* cotangent) {
    if (at.packs == 0) return;
    factor = static_cast<float>(scale * *cotangent * in.weight(at.row));
    if (in.labels != nullptr) label = in.labels[at.row];
  }
  template <int N>
  __device__ void find_label(const RowThread& at, const RowGrid& grid, const Tensors& in) {
    if (label < 0 || label >= grid.length) {
      factor = NAN;
    } else if ((label / N & (at.threads - 1)) == at.thread) {
      of_label = in.x[at.row * grid.length + label];
      return;
    }
    label = -1;
  }
};

// Once m and S are known.
struct RowResult {
  float largest, sum;
  double shares = 0.0;  // sum t', where there are shares
};

// Of every class as if it were not the label; put_label() then does that one over.
struct LabelGradient {
  float inverse, floor;  // factor / S, and the factor's smoothing

  __device__ LabelGradient(const Tensors& in, const RowFacts& row, const RowResult& result) {
    inverse = row.factor / result.sum;
    floor = static_cast<float>(row.factor * in.floor);
  }
  // `e`: exp(x - m) of a class.
  __device__ float operator()(float e, float) const { return fmaf(e, inverse, -floor); }

  // `dx`: of the row. The thread that has stored the label's gradient stores it again.
  __device__ void put_label(const Tensors& in, const RowFacts& row, const RowResult& result, float* dx) const {
    if (row.label < 0) return;
    const float e = expf(row.of_label - result.largest);
    // p - 1 in one rounding: factor * (e / S - 1) loses digits where p is near 1.
    dx[row.label] =
        static_cast<float>((static_cast<double>(e) / result.sum - (1.0 - in.smoothing)) * row.factor - floor);
  }
};

struct ShareGradient {
  const Tensors& in;
  float factor;
  double of_one;  // sum t' / S

  __device__ ShareGradient(const Tensors& in, const RowFacts& row, const RowResult& result)
      : in(in), factor(row.factor), of_one(result.shares / result.sum) {}
  __device__ float operator()(float e, float share) const {
    return static_cast<float>((e * of_one - in.smoothed(share)) * factor);
  }
};

template <int N, int kPacks>
struct LoadedPacks {
  float x[kPacks][N], share[kPacks][N];

  template <bool kShares>
  __device__ void load(const RowThread& at, const RowGrid& grid, const Tensors& in, std::int64_t base) {
    const std::int64_t first = at.row * grid.length;
    at.for_packs<kPacks, N>(base, [&](int p, std::int64_t i) {
      load_elements(in.x + first + i, N, in.wide, x[p]);
      if constexpr (kShares) load_elements(in.shares + first + i, N, in.wide, share[p]);
    });
  }
  // Adds the smoothed shares.
  __device__ void add_shares(const RowThread& at, const Tensors& in, std::int64_t base, double& sum) const {
    at.for_packs<kPacks, N>(base, [&](int p, std::int64_t) {
#pragma unroll
      for (int k = 0; k < N; ++k) sum += in.smoothed(share[p][k]);
    });
  }
};

template <bool kShares>
using RowGradient = std::conditional_t<kShares, ShareGradient, LabelGradient>;

// The P packs of a thread stay in its registers.
template <int N, int P, bool kShares>
__global__ void __launch_bounds__(kMostThreads, kShares ? 1 : kBlocksOfLogits)
    cross_entropy_backward_held(RowGrid grid, Tensors in, double scale, const float* cotangent, float* dx, bool wide) {
  const RowThread at(grid, blockIdx.x);
  RowFacts facts(at, in, scale, cotangent);
  LoadedPacks<N, P> row;
  row.template load<kShares>(at, grid, in, 0);
  if constexpr (!kShares) facts.template find_label<N>(at, grid, in);
  RowResult result;
  float largest = -INFINITY, sum = 0.0f;
  at.for_packs<P, N>([&](int p, std::int64_t) { largest = fmaxf(largest, largest_of(row.x[p])); });
  result.largest = at.largest(largest);
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
    float d[N];
#pragma unroll
    for (int k = 0; k < N; ++k) d[k] = gradient(row.x[p][k], kShares ? row.share[p][k] : 0.0f);
    store_elements(dx + at.row * grid.length + i, N, wide, d);
  });
  if constexpr (!kShares) gradient.put_label(in, facts, result, dx + at.row * grid.length);
}

// A block holds a row on chip. The targets are labels.
template <typename Wide>
__global__ void __launch_bounds__(LongLogits::kBlock, 2)
    cross_entropy_backward_on_chip(RowGrid grid, Tensors in, double scale, const float* cotangent, float* dx) {
  constexpr int N = LongLogits::N;
  const RowThread at(grid, blockIdx.x);
  const std::int64_t first = at.row * grid.length;
  RowFacts facts(at, in, scale, cotangent);
  LongLogits row({in.x + first}, static_cast<int>(grid.packs), Wide{});
  facts.template find_label<N>(at, grid, in);
  RowResult result;
  float largest = -INFINITY, sum = 0.0f;
  row.each([&](const float(&x)[1][N], int) { largest = fmaxf(largest, largest_of(x[0])); });
  result.largest = at.largest(largest);
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
}

template <int N, bool kShares>
__global__ void __launch_bounds__(kMostThreads)
    cross_entropy_backward_long(RowGrid grid, Tensors in, double scale, const float* cotangent, float* dx, bool wide) {
  const RowThread at(grid, blockIdx.x);
  RowFacts facts(at, in, scale, cotangent);
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
  for (std::int64_t base = 0; base < at.packs; base += step) {
    row.template load<kShares>(at, grid, in, base);
    at.for_packs<kInFlight, N>(base, [&](int p, std::int64_t i) {
      float d[N];
#pragma unroll
      for (int k = 0; k < N; ++k) {
        d[k] = gradient(expf(row.x[p][k] - result.largest), kShares ? row.share[p][k] : 0.0f);
      }
      store_elements(dx + at.row * grid.length + i, N, wide, d);
    });
  }
  if constexpr (!kShares) gradient.put_label(in, facts, result, dx + at.row * grid.length);
}

// ---- Launches ------------------------------------------------------------------------------------

Tensors tensors_of(const Launch& on, const Rows& rows, const Divisor& positions, int pack) {
  Tensors in = {};
  in.x = on.input<float>(0);
  in.labels = rows.shares ? nullptr : on.input<std::int32_t>(1);
  in.shares = rows.shares ? on.input<float>(1) : nullptr;
  in.weights = rows.weighted ? on.input<float>(2) : nullptr;
  in.positions = positions;
  in.smoothing = rows.smoothing;
  in.floor = rows.smoothing / static_cast<double>(rows.classes);
  const std::size_t bytes = sizeof(float) * static_cast<std::size_t>(pack);
  in.wide = is_aligned(in.x, bytes) && (!rows.shares || is_aligned(in.shares, bytes));
  return in;
}

template <int N>
Kernel make_forward(const Rows& rows, const RowGroups& groups, bool few) {
  const std::int64_t blocks = few ? 1 : std::min(groups.chunks(), kMostLossBlocks);
  const Divisor positions(rows.positions, rows.rows);
  const auto kernel = rows.shares                ? cross_entropy<N, true, true>
                      : rows.smoothing != 0.0 ? cross_entropy<N, false, true>
                                              : cross_entropy<N, false, false>;
  auto run = [=](const Launch& on) {
    launch_loss(on, blocks, rows.scale, [&](const LossSum& sum) {
      launch(on, dim3(static_cast<unsigned>(blocks)), groups.block, kernel, groups.grid(),
             tensors_of(on, rows, positions, N), sum);
    });
  };
  return {"softmax_cross_entropy_cuda", run, loss_workspace_bytes(blocks)};
}

Kernel softmax_cross_entropy_cuda(const KernelRequest& request) {
  const Rows rows(request, request.inputs.size(), request.op_as<SoftmaxCrossEntropyOp>());
  const bool few = rows.rows * rows.classes <= kFew;
  // One block has the more rows side by side the smaller groups are.
  const RowGroups groups(rows.rows, rows.classes, kPackOf<float>, kHeld, few ? kWarp : kMostThreads);
  return groups.pack == 1 ? make_forward<1>(rows, groups, few) : make_forward<kPackOf<float>>(rows, groups, few);
}

Kernel make_backward_on_chip(const Rows& rows, RowGroups groups, int cotangent_input) {
  constexpr int N = LongLogits::N;
  groups.give_block_each(LongLogits::kBlock);
  const Divisor positions(rows.positions, rows.rows);
  return {"softmax_cross_entropy_backward_cuda (long rows)", [=](const Launch& on) {
            float* dx = on.output<float>(0);
            const Tensors in = tensors_of(on, rows, positions, N);
            const auto kernel = in.wide && is_aligned(dx, 16) ? cross_entropy_backward_on_chip<std::true_type>
                                                              : cross_entropy_backward_on_chip<std::false_type>;
            launch(on, groups.blocks(), groups.block, kernel, groups.grid(), in, rows.scale,
                   on.input<float>(cotangent_input), dx);
          }};
}

template <int N, bool kShares>
Kernel make_backward(const Rows& rows, const RowGroups& groups, int cotangent_input) {
  const Divisor positions(rows.positions, rows.rows);
  const auto kernel = groups.of_thread == 1       ? cross_entropy_backward_held<N, 1, kShares>
                      : groups.of_thread <= kHeld ? cross_entropy_backward_held<N, kHeld, kShares>
                                                  : cross_entropy_backward_long<N, kShares>;
  return {"softmax_cross_entropy_backward_cuda", [=](const Launch& on) {
            float* dx = on.output<float>(0);
            launch(on, groups.blocks(), groups.block, kernel, groups.grid(), tensors_of(on, rows, positions, N),
                   rows.scale, on.input<float>(cotangent_input), dx, is_aligned(dx, sizeof(float) * N));
          }};
}

Kernel softmax_cross_entropy_backward_cuda(const KernelRequest& request) {
  const int cotangent_input = static_cast<int>(request.inputs.size()) - 1;
  const Rows rows(request, request.inputs.size() - 1, request.op_as<SoftmaxCrossEntropyBackwardOp>().loss());
  const RowGroups groups(rows.rows, rows.classes, kPackOf<float>, kHeld, kMostThreads);
  if (!rows.shares && groups.of_thread > kHeld && LongLogits::fits(rows.classes)) {
    return make_backward_on_chip(rows, groups, cotangent_input);
  }
  if (groups.pack == 1) {
    return rows.shares ? make_backward<1, true>(rows, groups, cotangent_input)
                       : make_backward<1, false>(rows, groups, cotangent_input);
  }
  constexpr int N = kPackOf<float>;
  return rows.shares ? make_backward<N, true>(rows, groups, cotangent_input)
                     : make_backward<N, false>(rows, groups, cotangent_input);
}

}  // namespace

void register_softmax_cross_entropy_cuda(KernelRegistry& registry) {
  registry.add("softmax_cross_entropy", DeviceKind::kCuda, {softmax_cross_entropy_cuda, nullptr});
  registry.add("softmax_cross_entropy_backward", DeviceKind::kCuda, {softmax_cross_entropy_backward_cuda, nullptr});
}

}  // namespace lockstep
