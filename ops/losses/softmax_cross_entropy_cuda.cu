// CUDA kernels of softmax_cross_entropy. Forward, the logits are read once: m is the largest so far, and sums move along with
// it.
#include "ops/losses/loss.h"
#include "ops/losses/softmax_cross_entropy_cuda.h"

namespace lockstep {
namespace {

using namespace cross_entropy;  // NOLINT: its file is written for this one and for cross_entropy_with_gradient_cuda.cu

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
__device__ float row_loss(const RowThread& at, const RowGrid& grid, const Tensors<float>& in) {
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
__global__ void __launch_bounds__(kMostThreads, kBlocksOfLogits) forward(RowGrid grid, Tensors<float> in, LossSum sum) {
  const std::int64_t rows_of_block = blockDim.x >> grid.shift;
  double total = 0.0;
  for (std::int64_t block = blockIdx.x; block * rows_of_block < grid.rows; block += gridDim.x) {
    const RowThread at(grid, block);
    const float loss = row_loss<N, kShares, kEach>(at, grid, in);
    if (at.thread == 0 && at.packs > 0) total += in.weight(at.row) * loss;
  }
  give_part(sum, total);
}

// ---- Launches ------------------------------------------------------------------------------------

template <int N>
Kernel make_forward(const KernelRequest& request, const Rows& rows, const RowGroups& groups) {
  const LossMemory memory(request.device, std::clamp<std::int64_t>(groups.chunks(), 1, kMostLossBlocks));
  const Divisor positions(rows.positions, rows.rows);
  const auto kernel = rows.shares                ? forward<N, true, true>
                      : rows.smoothing != 0.0 ? forward<N, false, true>
                                              : forward<N, false, false>;
  auto run = [=](const Launch& on) {
    launch(on, memory.grid(), groups.block, kernel, groups.grid(), Tensors<float>(on, rows, positions, N),
           memory.sum(on, rows.scale));
  };
  return {"softmax_cross_entropy_cuda", run, memory.workspace_bytes()};
}

Kernel softmax_cross_entropy_cuda(const KernelRequest& request) {
  const Rows rows(request, request.inputs.size(), request.op_as<SoftmaxCrossEntropyOp>());
  const RowGroups groups(rows.rows, rows.classes, kPackOf<float>, kHeld, kMostThreads);
  return groups.pack == 1 ? make_forward<1>(request, rows, groups) : make_forward<kPackOf<float>>(request, rows, groups);
}

Kernel softmax_cross_entropy_backward_cuda(const KernelRequest& request) {
  const int cotangent_input = static_cast<int>(request.inputs.size()) - 1;
  const Rows rows(request, request.inputs.size() - 1, request.op_as<SoftmaxCrossEntropyBackwardOp>().loss());
  const GradientLaunch gradient(rows, false);
  return {"softmax_cross_entropy_backward_cuda", [=](const Launch& on) {
            gradient.run(on, gradient.groups.blocks(), GradientAlone{rows.scale, on.input<float>(cotangent_input)},
                         on.output<float>(0));
          }};
}

}  // namespace

void register_softmax_cross_entropy_cuda(KernelRegistry& registry) {
  registry.add("softmax_cross_entropy", DeviceKind::kCuda, {softmax_cross_entropy_cuda, nullptr});
  registry.add("softmax_cross_entropy_backward", DeviceKind::kCuda, {softmax_cross_entropy_backward_cuda, nullptr});
}

}  // namespace lockstep
