// CPU kernels of the optimizer updates: one vectorised pass over the shard, in the runs of elements
// with and without weight decay. Each element is computed from its own values only, so the bits do
// not depend on threads or on how the parameters are divided into shards.
#include <algorithm>
#include <cmath>

#include "ops/cpu_kernel.h"
#include "ops/optimizers/optimizer.h"
#include "ops/optimizers/update_ops.h"

namespace lockstep {
namespace {

constexpr std::int64_t kGrain = 1 << 14;  // elements worth a thread: four or more arrays each

// Elements [begin, end) with one weight decay.
struct Run {
  std::int64_t begin, end;
  float decay;
};

std::vector<Run> runs_of(const UpdateOp& op, std::int64_t elements) {
  const auto decay = static_cast<float>(op.options().weight_decay);
  std::vector<Run> runs;
  std::int64_t at = 0;
  auto add = [&](std::int64_t end, float value) {
    if (end > at) runs.push_back({at, end, value});
    at = std::max(at, end);
  };
  for (const Segment& segment : op.decay_segments()) {
    add(segment.begin, 0.0f);
    add(segment.end, decay);
  }
  add(elements, 0.0f);
  return runs;
}

// What the launch says about this step, and what the op says about gradients.
struct Step {
  float rate, scale, limit;  // limit: of the gradient's elements, infinite where there is none
  std::int64_t number;       // counts from 1
};

[[gnu::always_inline]] inline float scaled(float gradient, const Step& step) {
  const float g = gradient * step.scale;
  // The comparisons let NaN pass: it shall be seen, not clipped.
  const float below = g > step.limit ? step.limit : g;
  return below < -step.limit ? -step.limit : below;
}

// A kernel from `formula.prepare(step)`, which gives an object whose update(run's decay, begin,
// end, arrays) does one run of elements. arrays[0] are the parameters, arrays[1] the gradients,
// then the slots.
template <typename Formula>
Kernel make_update(const KernelRequest& request, const UpdateOp& op, Formula formula) {
  const std::int64_t elements = request.inputs[0].elements();
  const int rate_input = 2 + op.slots(), threads = cpu_threads(request);
  const float limit =
      op.options().clip_value > 0 ? static_cast<float>(op.options().clip_value) : HUGE_VALF;
  auto run = [=, runs = runs_of(op, elements)](const Launch& launch) {
    const Step step{*launch.input<float>(rate_input), *launch.input<float>(rate_input + 2), limit,
                    *launch.input<std::int64_t>(rate_input + 1) + 1};
    if (!std::isfinite(step.scale)) return;  // the last good state stays
    const auto update = formula.prepare(step);
    float* const* arrays = reinterpret_cast<float* const*>(launch.inputs);
    parallel_for(threads, elements, kGrain, [&](std::int64_t begin, std::int64_t end) {
      for (const Run& part : runs) {
        const std::int64_t first = std::max(begin, part.begin), last = std::min(end, part.end);
        if (first < last) update.apply(part.decay, first, last, arrays);
      }
    });
  };
  return {std::string(op.name()) + "_cpu", std::move(run)};
}

// ---- sgd ---------------------------------------------------------------------------------------

template <bool kMomentum, bool kNesterov>
struct Sgd {
  float momentum;
  Step step = {};

  Sgd prepare(const Step& now) const { return {momentum, now}; }

  void apply(float decay, std::int64_t begin, std::int64_t end, float* const* arrays) const {
    float* p = arrays[0];
    const float* gradients = arrays[1];
    float* v = kMomentum ? arrays[2] : nullptr;
    const Step now = step;
    const float beta = momentum;
#pragma omp simd
    for (std::int64_t i = begin; i < end; ++i) {
      float g = std::fma(decay, p[i], scaled(gradients[i], now));
      if constexpr (kMomentum) {
        const float velocity = std::fma(beta, v[i], g);
        v[i] = velocity;
        g = kNesterov ? std::fma(beta, velocity, g) : velocity;
      }
      p[i] = std::fma(-now.rate, g, p[i]);
    }
  }
};

Kernel sgd_update_cpu(const KernelRequest& request) {
  const auto& op = request.op_as<SgdUpdateOp>();
  const auto momentum = static_cast<float>(op.options().momentum);
  if (momentum == 0) return make_update(request, op, Sgd<false, false>{0.0f});
  if (op.options().nesterov) return make_update(request, op, Sgd<true, true>{momentum});
  return make_update(request, op, Sgd<true, false>{momentum});
}

// ---- adam, adamw -------------------------------------------------------------------------------

template <bool kDecoupled>
struct Adam {
  double beta_1, beta_2, epsilon;
  Step step = {};
  float step_size = 0, root_scale = 0;  // rate / (1 - b1^t), 1 / sqrt(1 - b2^t)

  Adam prepare(const Step& now) const {
    const auto t = static_cast<double>(now.number);
    Adam out = *this;
    out.step = now;
    out.step_size = static_cast<float>(now.rate / (1.0 - std::pow(beta_1, t)));
    out.root_scale = static_cast<float>(1.0 / std::sqrt(1.0 - std::pow(beta_2, t)));
    return out;
  }

  void apply(float decay, std::int64_t begin, std::int64_t end, float* const* arrays) const {
    float *p = arrays[0], *m = arrays[2], *v = arrays[3];
    const float* gradients = arrays[1];
    const Step now = step;
    const float rate = step_size, scale = root_scale;
    const auto fresh_1 = static_cast<float>(1.0 - beta_1),
               fresh_2 = static_cast<float>(1.0 - beta_2);
    const auto keep_2 = static_cast<float>(beta_2), tiny = static_cast<float>(epsilon);
    const float shrink = kDecoupled ? static_cast<float>(1.0 - double{now.rate} * decay) : 1.0f;
    const float added = kDecoupled ? 0.0f : decay;
#pragma omp simd
    for (std::int64_t i = begin; i < end; ++i) {
      const float parameter = p[i] * shrink;
      const float g = std::fma(added, parameter, scaled(gradients[i], now));
      const float mean = std::fma(fresh_1, g - m[i], m[i]);
      const float square = std::fma(keep_2, v[i], fresh_2 * g * g);
      m[i] = mean;
      v[i] = square;
      const float root = std::fma(std::sqrt(square), scale, tiny);
      p[i] = std::fma(-rate, mean / root, parameter);
    }
  }
};

Kernel adam_update_cpu(const KernelRequest& request) {
  const auto& op = request.op_as<AdamUpdateOp>();
  const OptimizerOptions& o = op.options();
  if (op.decoupled()) return make_update(request, op, Adam<true>{o.beta_1, o.beta_2, o.epsilon});
  return make_update(request, op, Adam<false>{o.beta_1, o.beta_2, o.epsilon});
}

// ---- rmsprop -----------------------------------------------------------------------------------

template <bool kCentered, bool kMomentum>
struct Rmsprop {
  double rho, epsilon;
  float momentum;
  Step step = {};

  Rmsprop prepare(const Step& now) const { return {rho, epsilon, momentum, now}; }

  void apply(float decay, std::int64_t begin, std::int64_t end, float* const* arrays) const {
    float *p = arrays[0], *s = arrays[2];
    const float* gradients = arrays[1];
    float* a = kCentered ? arrays[3] : nullptr;
    float* b = kMomentum ? arrays[kCentered ? 4 : 3] : nullptr;
    const Step now = step;
    const auto keep = static_cast<float>(rho), fresh = static_cast<float>(1.0 - rho);
    const auto tiny = static_cast<float>(epsilon);
    const float beta = momentum;
#pragma omp simd
    for (std::int64_t i = begin; i < end; ++i) {
      const float g = std::fma(decay, p[i], scaled(gradients[i], now));
      const float square = std::fma(keep, s[i], fresh * g * g);
      s[i] = square;
      float variance = square;
      if constexpr (kCentered) {
        const float average = std::fma(fresh, g - a[i], a[i]);
        a[i] = average;
        // s - a^2 is not negative but for rounding; the root of a negative number would be NaN.
        const float centered = std::fma(-average, average, square);
        variance = centered > 0.0f ? centered : 0.0f;
      }
      float change = g / (std::sqrt(variance) + tiny);
      if constexpr (kMomentum) {
        change = std::fma(beta, b[i], change);
        b[i] = change;
      }
      p[i] = std::fma(-now.rate, change, p[i]);
    }
  }
};

Kernel rmsprop_update_cpu(const KernelRequest& request) {
  const auto& op = request.op_as<RmspropUpdateOp>();
  const OptimizerOptions& o = op.options();
  const auto momentum = static_cast<float>(o.momentum);
  if (o.centered && momentum != 0) {
    return make_update(request, op, Rmsprop<true, true>{o.rho, o.epsilon, momentum});
  }
  if (o.centered) return make_update(request, op, Rmsprop<true, false>{o.rho, o.epsilon, 0.0f});
  if (momentum != 0) {
    return make_update(request, op, Rmsprop<false, true>{o.rho, o.epsilon, momentum});
  }
  return make_update(request, op, Rmsprop<false, false>{o.rho, o.epsilon, 0.0f});
}

}  // namespace

void register_optimizers_cpu(KernelRegistry& registry) {
  registry.add("sgd_update", DeviceKind::kCpu, {sgd_update_cpu, nullptr});
  registry.add("adam_update", DeviceKind::kCpu, {adam_update_cpu, nullptr});
  registry.add("rmsprop_update", DeviceKind::kCpu, {rmsprop_update_cpu, nullptr});
}

}  // namespace lockstep
