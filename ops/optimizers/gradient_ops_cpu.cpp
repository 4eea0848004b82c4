// CPU kernels of square_sums, gradient_scale, sticky_gradient_scale and moving_average.
#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>

#include "ops/cpu_kernel.h"
#include "ops/optimizers/gradient_ops.h"

namespace lockstep {
namespace {

constexpr int kLanes =
    32;  // sums side by side: four vector registers hide the latency of the addition

// Element i goes to lane i % 32; the lanes are added as a binary tree.
float square_sum(const float* x, std::int64_t n) {
  std::array<float, kLanes> lanes{};
  const std::int64_t whole = n / kLanes * kLanes;
  for (std::int64_t i = 0; i < whole; i += kLanes) {
    for (int lane = 0; lane < kLanes; ++lane) {
      lanes[lane] = std::fma(x[i + lane], x[i + lane], lanes[lane]);
    }
  }
  for (std::int64_t i = whole; i < n; ++i) {
    lanes[i - whole] = std::fma(x[i], x[i], lanes[i - whole]);
  }
  for (int half = kLanes / 2; half > 0; half /= 2) {
    for (int lane = 0; lane < half; ++lane) lanes[lane] += lanes[lane + half];
  }
  return lanes[0];
}

Kernel square_sums_cpu(const KernelRequest& request) {
  const std::vector<std::int64_t> begins = request.op_as<SquareSumsOp>().begins();
  const std::int64_t blocks = request.outputs[0].elements();
  const int threads = cpu_threads(request);
  return {"square_sums_cpu", [=](const Launch& launch) {
            const float* x = launch.input<float>(0);
            float* sums = launch.output<float>(0);
            parallel_for(threads, blocks, kElementGrain / kNormBlock,
                         [&](std::int64_t begin, std::int64_t end) {
                           for (std::int64_t block = begin; block < end; ++block) {
                             sums[block] =
                                 square_sum(x + begins[block], begins[block + 1] - begins[block]);
                           }
                         });
          }};
}

// The sum of n numbers as one binary tree over the index: subtrees are aligned to powers of two,
// and those that stick out on the right are added from the smallest to the largest. n additions,
// one pass: level l waits until its right neighbour of 2^l numbers is complete, like the bits of a
// counter.
double tree_sum(const float* x, std::int64_t n) {
  std::array<double, 64> waiting;
  for (std::int64_t i = 0; i < n; ++i) {
    double sum = x[i];
    const int levels = std::countr_one(static_cast<std::uint64_t>(i));
    for (int level = 0; level < levels; ++level) sum = waiting[level] + sum;
    waiting[levels] = sum;
  }
  double total = 0;
  for (int level = 0; level < 63; ++level) {
    if (n >> level & 1) total = waiting[level] + total;
  }
  return total;
}

// Stores factor and norm; returns the factor.
float store_scale(const float* sums, std::int64_t blocks, double clip_norm, float* factor, float* norm) {
  const double root = std::sqrt(tree_sum(sums, blocks));
  double scale = 1;
  if (clip_norm > 0) scale = std::min(1.0, clip_norm / (root + 1e-6));
  if (!std::isfinite(root)) scale = std::numeric_limits<double>::quiet_NaN();
  *norm = static_cast<float>(root);
  return *factor = static_cast<float>(scale);
}

Kernel gradient_scale_cpu(const KernelRequest& request) {
  const double clip_norm = request.op_as<GradientScaleOp>().clip_norm();
  const std::int64_t blocks = request.inputs[0].elements();
  return {"gradient_scale_cpu", [=](const Launch& launch) {
            store_scale(launch.input<float>(0), blocks, clip_norm, launch.output<float>(0), launch.output<float>(1));
          }};
}

Kernel sticky_gradient_scale_cpu(const KernelRequest& request) {
  const double clip_norm = request.op_as<StickyGradientScaleOp>().clip_norm();
  const std::int64_t blocks = request.inputs[1].elements();
  return {"sticky_gradient_scale_cpu", [=](const Launch& launch) {
            float *halted = launch.overwritten<float>(0), *factor = launch.output<float>(1);
            store_scale(launch.input<float>(1), blocks, clip_norm, factor, launch.output<float>(2));
            const bool halts = *halted != 0 || !std::isfinite(*factor);
            *halted = halts ? 1.0f : 0.0f;
            if (halts) *factor = std::numeric_limits<float>::quiet_NaN();
          }};
}

Kernel moving_average_cpu(const KernelRequest& request) {
  const double momentum = request.op_as<MovingAverageOp>().momentum();
  const auto keep = static_cast<float>(momentum), fresh = static_cast<float>(1.0 - momentum);
  const std::int64_t elements = request.inputs[0].elements();
  return {"moving_average_cpu", [=](const Launch& launch) {
            float* state = launch.overwritten<float>(0);
            const float* batch = launch.input<float>(1);
            if (!std::isfinite(*launch.input<float>(2))) return;
#pragma omp simd
            for (std::int64_t i = 0; i < elements; ++i) {
              state[i] = std::fma(keep, state[i], fresh * batch[i]);
            }
          }};
}

}  // namespace

void register_gradient_ops_cpu(KernelRegistry& registry) {
  registry.add("square_sums", DeviceKind::kCpu, {square_sums_cpu, nullptr});
  registry.add("gradient_scale", DeviceKind::kCpu, {gradient_scale_cpu, nullptr});
  registry.add("sticky_gradient_scale", DeviceKind::kCpu, {sticky_gradient_scale_cpu, nullptr});
  registry.add("moving_average", DeviceKind::kCpu, {moving_average_cpu, nullptr});
}

}  // namespace lockstep
