// CUDA kernels of the optimizer updates: one pass over the shard. Each element is computed from its own values only, in
// arithmetic that the compiler may not contract, so the bits do not depend on how the parameters are divided into shards
// or on how those are aligned.
//
// What is the same for all elements (powers of the betas) is computed once for each thread block while its first elements
// are on their way.
#include <cmath>

#include "core/kernel/cuda_elementwise.h"
#include "ops/optimizers/update_ops.h"

namespace lockstep {
namespace {

constexpr int kEach = 4;  // elements of a thread

// ---- Formulas --------------------------------------------------------------------------------------

// Each has
//   kSlots
//   Now, now(rate, t)                        what one step needs; t counts from 1
//   update(now, decay, g, p, slots)          one element; g is the gradient after scaling and clipping

// base^exponent by squaring: within log2(exponent) roundings of f64.
__device__ inline double power(double base, std::int64_t exponent) {
  double out = 1.0;
  for (; exponent > 0; exponent >>= 1) {
    if (exponent & 1) out *= base;
    base *= base;
  }
  return out;
}

template <bool kMomentum, bool kNesterov>
struct Sgd {
  static constexpr int kSlots = kMomentum ? 1 : 0;
  struct Now {
    float rate;
  };
  float momentum;

  __device__ Now now(float rate, std::int64_t) const { return {rate}; }
  __device__ void update(const Now& now, float decay, float g, float& p, float* slots) const {
    g = fmaf(decay, p, g);
    if constexpr (kMomentum) {
      const float velocity = fmaf(momentum, slots[0], g);
      slots[0] = velocity;
      g = kNesterov ? fmaf(momentum, velocity, g) : velocity;
    }
    p = fmaf(-now.rate, g, p);
  }
};

// adam, and adamw (decoupled).
template <bool kDecoupled>
struct Adam {
  static constexpr int kSlots = 2;
  struct Now {
    float rate, root_scale, shrink;  // r / (1 - b1^t), 1 / sqrt(1 - b2^t), what decay leaves of a parameter
  };
  double beta_1, beta_2, weight_decay;
  float fresh_1, fresh_2, keep_2, epsilon;

  explicit Adam(const OptimizerOptions& o)
      : beta_1(o.beta_1),
        beta_2(o.beta_2),
        weight_decay(static_cast<float>(o.weight_decay)),
        fresh_1(static_cast<float>(1.0 - o.beta_1)),
        fresh_2(static_cast<float>(1.0 - o.beta_2)),
        keep_2(static_cast<float>(o.beta_2)),
        epsilon(static_cast<float>(o.epsilon)) {}

  __device__ Now now(float rate, std::int64_t t) const {
    const double wide_rate = rate;
    return {static_cast<float>(wide_rate / (1.0 - power(beta_1, t))),
            static_cast<float>(1.0 / sqrt(1.0 - power(beta_2, t))), static_cast<float>(1.0 - wide_rate * weight_decay)};
  }
  __device__ void update(const Now& now, float decay, float g, float& p, float* slots) const {
    if constexpr (kDecoupled) {
      p = __fmul_rn(p, decay != 0.0f ? now.shrink : 1.0f);
    } else {
      g = fmaf(decay, p, g);
    }
    slots[0] = fmaf(fresh_1, __fsub_rn(g, slots[0]), slots[0]);
    slots[1] = fmaf(keep_2, slots[1], __fmul_rn(__fmul_rn(fresh_2, g), g));
    p = fmaf(-now.rate, slots[0] / fmaf(sqrtf(slots[1]), now.root_scale, epsilon), p);
  }
};

template <bool kCentered, bool kMomentum>
struct Rmsprop {
  static constexpr int kSlots = 1 + (kCentered ? 1 : 0) + (kMomentum ? 1 : 0);
  struct Now {
    float rate;
  };
  float keep, fresh, epsilon, momentum;

  explicit Rmsprop(const OptimizerOptions& o)
      : keep(static_cast<float>(o.rho)),
        fresh(static_cast<float>(1.0 - o.rho)),
        epsilon(static_cast<float>(o.epsilon)),
        momentum(static_cast<float>(o.momentum)) {}

  __device__ Now now(float rate, std::int64_t) const { return {rate}; }
  __device__ void update(const Now& now, float decay, float g, float& p, float* slots) const {
    g = fmaf(decay, p, g);
    const float square = fmaf(keep, slots[0], __fmul_rn(__fmul_rn(fresh, g), g));
    slots[0] = square;
    float variance = square;
    if constexpr (kCentered) {
      const float average = fmaf(fresh, __fsub_rn(g, slots[1]), slots[1]);
      slots[1] = average;
      // s - a^2 is not negative but for rounding; the root of a negative number would be NaN.
      const float centered = fmaf(-average, average, square);
      variance = centered > 0.0f ? centered : 0.0f;
    }
    float change = g / __fadd_rn(sqrtf(variance), epsilon);
    if constexpr (kMomentum) {
      change = fmaf(momentum, slots[kSlots - 1], change);
      slots[kSlots - 1] = change;
    }
    p = fmaf(-now.rate, change, p);
  }
};

// ---- The kernel ------------------------------------------------------------------------------------

// Where weight decay acts: `count` segments, in order.
struct Decay {
  const Segment* segments;
  int count;
  float value;

  // The first segment that ends behind element i.
  __device__ int segment_at(std::int64_t i) const {
    int low = 0, high = count;
    while (low < high) {
      const int middle = (low + high) / 2;
      if (segments[middle].end > i) {
        high = middle;
      } else {
        low = middle + 1;
      }
    }
    return low;
  }
  // Of the elements i, i + 1, ...
  __device__ void load(std::int64_t i, float (&to)[kEach]) const {
    int at = segment_at(i);
#pragma unroll
    for (int k = 0; k < kEach; ++k) {
      while (at < count && segments[at].end <= i + k) ++at;
      to[k] = at < count && segments[at].begin <= i + k ? value : 0.0f;
    }
  }
};

// Parameters, gradients and slots.
template <int kArrays>
struct Shard {
  std::int64_t count;
  float* array[kArrays];
  bool wide[kArrays];  // aligned for packs
};

// What the step says, in memory of the device.
struct StepNumbers {
  const float *rate, *scale;
  const std::int64_t* number;
};

template <typename Formula>
__global__ void __launch_bounds__(kThreads)
    update(const __grid_constant__ Shard<2 + Formula::kSlots> shard, Decay decay, StepNumbers step, float limit,
           Formula formula) {
  constexpr int kArrays = 2 + Formula::kSlots;
  __shared__ typename Formula::Now of_block;
  const float scale = *step.scale;
  if (!is_finite(scale)) return;  // the last good state stays
  const std::int64_t i = (static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x) * kEach;
  const std::int64_t left = shard.count - i;
  const int n = left >= kEach ? kEach : (left > 0 ? static_cast<int>(left) : 0);
  float x[kArrays][kEach];
#pragma unroll
  for (int a = 0; a < kArrays; ++a) load_elements(shard.array[a] + i, n, shard.wide[a], x[a]);
  if (threadIdx.x == 0) of_block = formula.now(*step.rate, *step.number + 1);
  float decays[kEach];
  decay.load(i, decays);
  __syncthreads();
  const typename Formula::Now now = of_block;
#pragma unroll
  for (int k = 0; k < kEach; ++k) {
    float slots[kArrays];
#pragma unroll
    for (int s = 0; s < Formula::kSlots; ++s) slots[s] = x[2 + s][k];
    const float g = __fmul_rn(x[1][k], scale);
    // The comparisons let NaN pass: it shall be seen, not clipped.
    const float below = g > limit ? limit : g;
    formula.update(now, decays[k], below < -limit ? -limit : below, x[0][k], slots);
#pragma unroll
    for (int s = 0; s < Formula::kSlots; ++s) x[2 + s][k] = slots[s];
  }
#pragma unroll
  for (int a = 0; a < kArrays; ++a) {
    if (a != 1) store_elements(shard.array[a] + i, n, shard.wide[a], x[a]);
  }
}

template <typename Formula>
Kernel make_update(const KernelRequest& request, const UpdateOp& op, const Formula& formula) {
  constexpr int kArrays = 2 + Formula::kSlots;
  require(op.slots() == Formula::kSlots, op.name(), ": the formula has ", Formula::kSlots, " slots, the op ", op.slots());
  const std::int64_t count = request.inputs[0].elements();
  const float limit = op.options().clip_value > 0 ? static_cast<float>(op.options().clip_value) : HUGE_VALF;
  std::vector<Segment> segments;
  for (const Segment& segment : op.decay_segments()) {
    if (segment.begin < segment.end) segments.push_back(segment);
  }
  const Decay decay{nullptr, static_cast<int>(segments.size()), static_cast<float>(op.options().weight_decay)};
  return {text(op.name(), "_cuda"), [=, table = device_table(request.device, segments)](const Launch& on) {
            Shard<kArrays> shard = {};
            shard.count = count;
            for (int a = 0; a < kArrays; ++a) {
              shard.array[a] = on.overwritten<float>(a);
              shard.wide[a] = is_aligned(shard.array[a], kAccess<float, kEach>);
            }
            Decay here = decay;
            here.segments = static_cast<const Segment*>(table->data());
            const StepNumbers step{on.input<float>(kArrays), on.input<float>(kArrays + 2),
                                   on.input<std::int64_t>(kArrays + 1)};
            launch(on, blocks_for(count, kThreads * kEach), kThreads, update<Formula>, shard, here, step, limit,
                   formula);
          }};
}

Kernel sgd_update_cuda(const KernelRequest& request) {
  const auto& op = request.op_as<SgdUpdateOp>();
  const auto momentum = static_cast<float>(op.options().momentum);
  if (momentum == 0) return make_update(request, op, Sgd<false, false>{0.0f});
  if (op.options().nesterov) return make_update(request, op, Sgd<true, true>{momentum});
  return make_update(request, op, Sgd<true, false>{momentum});
}

Kernel adam_update_cuda(const KernelRequest& request) {
  const auto& op = request.op_as<AdamUpdateOp>();
  if (op.decoupled()) return make_update(request, op, Adam<true>(op.options()));
  return make_update(request, op, Adam<false>(op.options()));
}

Kernel rmsprop_update_cuda(const KernelRequest& request) {
  const auto& op = request.op_as<RmspropUpdateOp>();
  const OptimizerOptions& o = op.options();
  const bool momentum = o.momentum != 0;
  if (o.centered && momentum) return make_update(request, op, Rmsprop<true, true>(o));
  if (o.centered) return make_update(request, op, Rmsprop<true, false>(o));
  if (momentum) return make_update(request, op, Rmsprop<false, true>(o));
  return make_update(request, op, Rmsprop<false, false>(o));
}

}  // namespace

void register_optimizers_cuda(KernelRegistry& registry) {
  registry.add("sgd_update", DeviceKind::kCuda, {sgd_update_cuda, nullptr});
  registry.add("adam_update", DeviceKind::kCuda, {adam_update_cuda, nullptr});
  registry.add("rmsprop_update", DeviceKind::kCuda, {rmsprop_update_cuda, nullptr});
}

}  // namespace lockstep
