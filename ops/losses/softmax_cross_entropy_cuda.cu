// CUDA kernels of softmax_cross_entropy, a row of logits by a group of threads. With m the largest logit of a row and S = sum
// exp(x - m), the loss of the row is
//   log S + (1 - s) (m - x_t) + s / classes * sum (m - x),
// and with shares t of the classes (smoothed: t' = (1 - s) t + s / classes) the sum over the classes of
// t' (log S + m - x). Forward, the logits are read once: m is the largest so far, and sums move along with it. Backward, they
// stay in registers where the row is short enough, else they are read twice, the second time from a cache.
#include "ops/losses/loss.h"
#include "ops/losses/loss_sum_cuda.h"
#include "ops/losses/softmax_cross_entropy.h"
#include "ops/softmax/softmax_cuda.h"

namespace lockstep {
namespace {

constexpr int kInFlight = 4;  // packs of a thread, where a row is not held
constexpr int kHeld = 8;
constexpr int kMostThreads = 512;
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
  template <int N>
  __device__ void add(const float (&x)[N], const float (&share)[N]) {
    float top = x[0];
#pragma unroll
    for (int k = 1; k < N; ++k) top = fmaxf(top, x[k]);
    rise(top);
    exponentials.add(x);
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
  const std::int64_t first = at.row * grid.length, step = std::int64_t{at.threads} * kInFlight;
  Distances mine;
  for (std::int64_t base = 0; base < at.packs; base += step) {
    float x[kInFlight][N], share[kInFlight][N];
    at.for_packs<kInFlight, N>(base, [&](int p, std::int64_t i) {
      load_elements(in.x + first + i, N, in.wide, x[p]);
      if constexpr (kShares) load_elements(in.shares + first + i, N, in.wide, share[p]);
    });
    at.for_packs<kInFlight, N>(base, [&](int p, std::int64_t) {
      if constexpr (kEach) {
#pragma unroll
        for (int k = 0; k < N; ++k) share[p][k] = kShares ? static_cast<float>(in.smoothed(share[p][k])) : 1.0f;
        mine.add(x[p], share[p]);
      } else {
        mine.exponentials.add(x[p]);
      }
    });
  }
  const float largest = at.largest(mine.exponentials.largest);
  mine.rise(largest);
  const float log_sum = logf(at.sum(mine.exponentials.sum));
  const float distance = kEach ? at.sum(mine.distance) : 0.0f;
  if constexpr (kShares) {
    const float shares = at.sum(mine.shares);
    return fmaf(shares, log_sum, distance);
  } else {
    if (at.thread != 0 || at.packs == 0) return 0.0f;
    const std::int32_t label = in.labels[at.row];
    if (label < 0 || label >= grid.length) return NAN;
    const float of_label = largest - in.x[first + label];
    if constexpr (!kEach) return log_sum + of_label;
    return static_cast<float>(log_sum + (1.0 - in.smoothing) * of_label + in.floor * distance);
  }
}

template <int N, bool kShares, bool kEach>
__global__ void __launch_bounds__(kMostThreads) cross_entropy(RowGrid grid, Tensors in, LossSum sum) {
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

// What a thread needs for the gradients of its logits, once m and S are known.
struct RowResult {
  float largest, sum, factor;  // m, S, and what the gradient is multiplied by
  double shares;               // sum t', where there are shares
};

template <int N>
struct LabelGradient {
  std::int32_t label;
  float inverse, floor;   // factor / S, and the factor's smoothing
  float of_label = 0.0f;  // of the class itself, in the thread that has it

  __device__ LabelGradient(const Tensors& in, const RowThread& at, const RowGrid& grid, const RowResult& result) {
    label = at.packs > 0 ? in.labels[at.row] : 0;
    const bool known = label >= 0 && label < grid.length;
    const float factor = known ? result.factor : NAN;  // and so is the whole row
    inverse = factor / result.sum;
    floor = static_cast<float>(factor * in.floor);
    if (at.packs == 0 || !known || (label / N & (at.threads - 1)) != at.thread) return;
    const float e = expf(in.x[at.row * grid.length + label] - result.largest);
    // p - 1 in one rounding: factor * (e / S - 1) loses digits where p is near 1.
    of_label = static_cast<float>((static_cast<double>(e) / result.sum - (1.0 - in.smoothing)) * factor - floor);
  }
  // `e`: exp(x - m) of class `k`.
  __device__ float operator()(float e, float, std::int64_t k) const {
    return k == label ? of_label : fmaf(e, inverse, -floor);
  }
};

template <int N>
struct ShareGradient {
  const Tensors& in;
  float factor;
  double of_one;  // sum t' / S

  __device__ ShareGradient(const Tensors& in, const RowThread&, const RowGrid&, const RowResult& result)
      : in(in), factor(result.factor), of_one(result.shares / result.sum) {}
  __device__ float operator()(float e, float share, std::int64_t) const {
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

__device__ inline float factor_of(const RowThread& at, const Tensors& in, double scale, const float* cotangent) {
  return static_cast<float>(scale * *cotangent * (at.packs > 0 ? in.weight(at.row) : 0.0));
}

template <bool kShares, int N>
using RowGradient = std::conditional_t<kShares, ShareGradient<N>, LabelGradient<N>>;

// The P packs of a thread stay in its registers.
template <int N, int P, bool kShares>
__global__ void __launch_bounds__(kMostThreads)
    cross_entropy_backward_held(RowGrid grid, Tensors in, double scale, const float* cotangent, float* dx, bool wide) {
  const RowThread at(grid, blockIdx.x);
  LoadedPacks<N, P> row;
  row.template load<kShares>(at, grid, in, 0);
  RowResult result;
  float largest = -INFINITY, sum = 0.0f;
  at.for_packs<P, N>([&](int p, std::int64_t) {
#pragma unroll
    for (int k = 0; k < N; ++k) largest = fmaxf(largest, row.x[p][k]);
  });
  result.largest = at.largest(largest);
  at.for_packs<P, N>([&](int p, std::int64_t) {
#pragma unroll
    for (int k = 0; k < N; ++k) sum += row.x[p][k] = expf(row.x[p][k] - result.largest);
  });
  result.sum = at.sum(sum);
  result.shares = 0.0;
  if constexpr (kShares) {
    double all = 0.0;
    row.add_shares(at, in, 0, all);
    result.shares = at.sum(all);
  }
  result.factor = factor_of(at, in, scale, cotangent);
  const RowGradient<kShares, N> gradient(in, at, grid, result);
  at.for_packs<P, N>([&](int p, std::int64_t i) {
    float d[N];
#pragma unroll
    for (int k = 0; k < N; ++k) d[k] = gradient(row.x[p][k], kShares ? row.share[p][k] : 0.0f, i + k);
    store_elements(dx + at.row * grid.length + i, N, wide, d);
  });
}

template <int N, bool kShares>
__global__ void __launch_bounds__(kMostThreads)
    cross_entropy_backward_long(RowGrid grid, Tensors in, double scale, const float* cotangent, float* dx, bool wide) {
  const RowThread at(grid, blockIdx.x);
  const std::int64_t step = std::int64_t{at.threads} * kInFlight;
  LoadedPacks<N, kInFlight> row;
  Exponentials mine;
  double all = 0.0;
  for (std::int64_t base = 0; base < at.packs; base += step) {
    row.template load<kShares>(at, grid, in, base);
    at.for_packs<kInFlight, N>(base, [&](int p, std::int64_t) { mine.add(row.x[p]); });
    if constexpr (kShares) row.add_shares(at, in, base, all);
  }
  RowResult result;
  result.largest = at.largest(mine.largest);
  mine.rise(result.largest);
  result.sum = at.sum(mine.sum);
  result.shares = kShares ? at.sum(all) : 0.0;
  result.factor = factor_of(at, in, scale, cotangent);
  const RowGradient<kShares, N> gradient(in, at, grid, result);
  for (std::int64_t base = 0; base < at.packs; base += step) {
    row.template load<kShares>(at, grid, in, base);
    at.for_packs<kInFlight, N>(base, [&](int p, std::int64_t i) {
      float d[N];
#pragma unroll
      for (int k = 0; k < N; ++k) {
        d[k] = gradient(expf(row.x[p][k] - result.largest), kShares ? row.share[p][k] : 0.0f, i + k);
      }
      store_elements(dx + at.row * grid.length + i, N, wide, d);
    });
  }
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
