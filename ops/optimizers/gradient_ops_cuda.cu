// CUDA kernels of square_sums, gradient_scale, sticky_gradient_scale and moving_average.
#include "core/kernel/cuda_elementwise.h"
#include "ops/optimizers/gradient_ops.h"

namespace lockstep {
namespace {

// ---- square_sums -----------------------------------------------------------------------------------

constexpr int kEach = 4;                                       // neighbours that a lane loads at once
constexpr int kLoads = static_cast<int>(kNormBlock) / (kEach * kWarp);  // of a lane, for a whole block

__device__ inline void add_squares(const float (&x)[kEach], float (&sum)[kEach]) {
#pragma unroll
  for (int k = 0; k < kEach; ++k) sum[k] = fmaf(x[k], x[k], sum[k]);
}

// A warp has a block: lane l the elements 4 l, ..., 4 l + 3 of every 128, wherever the block lies in memory.
__global__ void __launch_bounds__(kThreads)
    square_sums(const float* x, const std::int64_t* begins, std::int64_t blocks, float* sums) {
  const std::int64_t block = static_cast<std::int64_t>(blockIdx.x) * (kThreads / kWarp) + threadIdx.x / kWarp;
  if (block >= blocks) return;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const std::int64_t begin = begins[block], count = begins[block + 1] - begin;
  const float* from = x + begin;
  const bool wide = reinterpret_cast<std::uintptr_t>(from) % sizeof(Pack<float, kEach>) == 0;
  float sum[kEach] = {};
  if (wide && count == kNormBlock) {
    float loaded[kLoads][kEach];
#pragma unroll
    for (int j = 0; j < kLoads; ++j) load_pack(from + (j * kWarp + lane) * kEach, loaded[j]);
#pragma unroll
    for (int j = 0; j < kLoads; ++j) add_squares(loaded[j], sum);
  } else {
    for (std::int64_t i = lane * kEach; i < count; i += kWarp * kEach) {
      float loaded[kEach];
      load_elements(from + i, count - i < kEach ? static_cast<int>(count - i) : kEach, wide, loaded);
      add_squares(loaded, sum);
    }
  }
  const float total = warp_sum((sum[0] + sum[1]) + (sum[2] + sum[3]));
  if (lane == 0) sums[block] = total;
}

Kernel square_sums_cuda(const KernelRequest& request) {
  const std::int64_t blocks = request.outputs[0].elements();
  return {"square_sums_cuda",
          [=, begins = device_table(request.device, request.op_as<SquareSumsOp>().begins())](const Launch& on) {
            launch(on, blocks_for(blocks, kThreads / kWarp), kThreads, square_sums, on.input<float>(0),
                   static_cast<const std::int64_t*>(begins->data()), blocks, on.output<float>(0));
          }};
}

// ---- gradient_scale --------------------------------------------------------------------------------

// A thread block adds an aligned subtree of so many leaves: kSubtrees times one of each thread.
constexpr int kLeavesThreads = kWarp * kWarp;
constexpr int kSubtrees = 8;
constexpr std::int64_t kLeaves = kSubtrees * kLeavesThreads;

__device__ inline double warp_tree(double value) {
  for (int step = 1; step < kWarp; step *= 2) value += __shfl_xor_sync(0xffffffffu, value, step);
  return value;
}

// The sum of the subtree of this thread block, as one binary tree over the index of the leaves. What is missing at the end
// counts as zeros, which change nothing.
template <typename X, typename End>
__global__ void __launch_bounds__(kLeavesThreads) add_tree(const X* x, std::int64_t count, End end) {
  __shared__ double partial[kSubtrees][kWarp], sums[kSubtrees];
  const std::int64_t first = static_cast<std::int64_t>(blockIdx.x) * kLeaves + threadIdx.x;
  const int lane = static_cast<int>(threadIdx.x) % kWarp, warp = static_cast<int>(threadIdx.x) / kWarp;
  X leaves[kSubtrees];
#pragma unroll
  for (int s = 0; s < kSubtrees; ++s) {
    const std::int64_t i = first + s * kLeavesThreads;
    leaves[s] = i < count ? x[i] : X{0};
  }
#pragma unroll
  for (int s = 0; s < kSubtrees; ++s) {
    const double of_warp = warp_tree(static_cast<double>(leaves[s]));
    if (lane == 0) partial[s][warp] = of_warp;
  }
  __syncthreads();
  if (warp < kSubtrees) {
    const double sum = warp_tree(partial[warp][lane]);
    if (lane == 0) sums[warp] = sum;
  }
  __syncthreads();
  if (threadIdx.x != 0) return;
#pragma unroll
  for (int step = 1; step < kSubtrees; step *= 2) {
#pragma unroll
    for (int s = 0; s < kSubtrees; s += 2 * step) sums[s] += sums[s + step];
  }
  end(sums[0]);
}

// The sum is a leaf of the next tree.
struct KeepLeaf {
  double* leaves;
  __device__ void operator()(double sum) const { leaves[blockIdx.x] = sum; }
};

struct StoreScale {
  double clip_norm;
  float *factor, *norm;
  float* halted;  // null where there is no memory

  __device__ void operator()(double sum) const {
    const double root = sqrt(sum);
    double scale = 1.0;
    if (clip_norm > 0.0 && clip_norm < root + 1e-6) scale = clip_norm / (root + 1e-6);
    const auto found = static_cast<float>(root);
    bool halts = !is_finite(found);
    if (halted != nullptr) {
      halts = halts || *halted != 0.0f;
      *halted = halts ? 1.0f : 0.0f;
    }
    *factor = halts ? __uint_as_float(0x7fc00000u) : static_cast<float>(scale);
    *norm = found;
  }
};

std::int64_t subtrees(std::int64_t leaves) { return (leaves + kLeaves - 1) / kLeaves; }

template <typename X>
void launch_tree(const Launch& on, const X* x, std::int64_t count, double* workspace, const StoreScale& end) {
  if (count <= kLeaves) return launch(on, dim3(1), kLeavesThreads, add_tree<X, StoreScale>, x, count, end);
  const std::int64_t next = subtrees(count);
  launch(on, blocks_for(count, kLeaves), kLeavesThreads, add_tree<X, KeepLeaf>, x, count, KeepLeaf{workspace});
  launch_tree<double>(on, workspace, next, workspace + next, end);
}

// Of the sums that launches keep for others.
std::size_t tree_workspace(std::int64_t leaves) {
  std::int64_t kept = 0;
  while (leaves > kLeaves) kept += leaves = subtrees(leaves);
  return static_cast<std::size_t>(kept) * sizeof(double);
}

Kernel gradient_scale_cuda(const KernelRequest& request) {
  const double clip_norm = request.op_as<GradientScaleOp>().clip_norm();
  const std::int64_t blocks = request.inputs[0].elements();
  return {"gradient_scale_cuda",
          [=](const Launch& on) {
            launch_tree(on, on.input<float>(0), blocks, static_cast<double*>(on.workspace),
                        {clip_norm, on.output<float>(0), on.output<float>(1), nullptr});
          },
          tree_workspace(blocks)};
}

Kernel sticky_gradient_scale_cuda(const KernelRequest& request) {
  const double clip_norm = request.op_as<StickyGradientScaleOp>().clip_norm();
  const std::int64_t blocks = request.inputs[1].elements();
  return {"sticky_gradient_scale_cuda",
          [=](const Launch& on) {
            launch_tree(on, on.input<float>(1), blocks, static_cast<double*>(on.workspace),
                        {clip_norm, on.output<float>(1), on.output<float>(2), on.overwritten<float>(0)});
          },
          tree_workspace(blocks)};
}

// ---- moving_average --------------------------------------------------------------------------------

struct Average {
  float keep, fresh;
  __device__ float operator()(float state, float batch, float scale) const {
    return is_finite(scale) ? fmaf(keep, state, __fmul_rn(fresh, batch)) : state;
  }
};

Kernel moving_average_cuda(const KernelRequest& request) {
  const double momentum = request.op_as<MovingAverageOp>().momentum();
  const Average average{static_cast<float>(momentum), static_cast<float>(1.0 - momentum)};
  const std::int64_t count = request.inputs[0].elements();
  const Repeated<float> scale = repeated<float>(nullptr, 1, 1, count);
  return {"moving_average_cuda", [=](const Launch& on) {
            launch_elementwise(on, count, on.overwritten<float>(0), average, Full<float>{on.input<float>(0)},
                               Full<float>{on.input<float>(1)}, scale.of(on.input<float>(2)));
          }};
}

}  // namespace

void register_gradient_ops_cuda(KernelRegistry& registry) {
  registry.add("square_sums", DeviceKind::kCuda, {square_sums_cuda, nullptr});
  registry.add("gradient_scale", DeviceKind::kCuda, {gradient_scale_cuda, nullptr});
  registry.add("sticky_gradient_scale", DeviceKind::kCuda, {sticky_gradient_scale_cuda, nullptr});
  registry.add("moving_average", DeviceKind::kCuda, {moving_average_cuda, nullptr});
}

}  // namespace lockstep
