// CUDA kernels of the elementwise losses: one pass over memory each.
#include "core/kernel/cuda_elementwise.h"
#include "ops/activation/activation_cuda.h"
#include "ops/losses/element_loss.h"
#include "ops/losses/loss.h"
#include "ops/losses/loss_sum_cuda.h"

namespace lockstep {
namespace {

constexpr int kLossThreads = 512;
constexpr int kPacks = 4;  // of a thread in flight
constexpr int kNeighbours = kPackOf<float>;

struct Squared {
  __device__ float value(float x, float t) const { return (x - t) * (x - t); }
  __device__ float derivative(float x, float t) const { return 2.0f * (x - t); }
};

struct Absolute {
  __device__ float value(float x, float t) const { return fabsf(x - t); }
  __device__ float derivative(float x, float t) const { return (x > t ? 1.0f : 0.0f) - (x < t ? 1.0f : 0.0f); }
};

struct BinaryCrossEntropy {
  float keep, shift;  // the smoothed target is t * keep + shift

  __device__ float value(float x, float t) const {
    const float positive = x > 0.0f ? x : 0.0f;
    return positive - x * fmaf(t, keep, shift) + log1pf(expf(-fabsf(x)));
  }
  __device__ float derivative(float x, float t) const { return cuda_activation::sigmoid(x) - fmaf(t, keep, shift); }
};

// The weight of an element: one for each sample, or 1.
struct Weighted {
  const float* weights;
  Divisor sample_elements;
  __device__ float of(std::int64_t i) const { return weights[sample_elements.quotient(i)]; }
};
struct Unweighted {
  __device__ float of(std::int64_t) const { return 1.0f; }
};

// A round of kPacks packs is added up in f32, the rounds in f64.
template <typename Formula, typename Weight>
__global__ void __launch_bounds__(kLossThreads) element_loss(std::int64_t count, bool wide, const float* x, const float* t,
                                                             Weight weight, Formula formula, LossSum sum) {
  constexpr int N = kNeighbours;
  const std::int64_t step = std::int64_t{gridDim.x} * kLossThreads * N;
  double total = 0.0;
  for (std::int64_t first = (std::int64_t{blockIdx.x} * kLossThreads + threadIdx.x) * N; first < count;
       first += kPacks * step) {
    float a[kPacks][N], b[kPacks][N];
#pragma unroll
    for (int p = 0; p < kPacks; ++p) {
      const std::int64_t i = first + p * step;
      const int n = i >= count ? 0 : (count - i < N ? static_cast<int>(count - i) : N);
      if (n == 0) continue;
      load_elements(x + i, n, wide, a[p]);
      load_elements(t + i, n, wide, b[p]);
    }
    float round = 0.0f;
#pragma unroll
    for (int p = 0; p < kPacks; ++p) {
#pragma unroll
      for (int k = 0; k < N; ++k) {
        const std::int64_t i = first + p * step + k;
        if (i < count) round += weight.of(i) * formula.value(a[p][k], b[p][k]);
      }
    }
    total += round;
  }
  give_part(sum, total);
}

// The constant factor of each element's share, and the elements that have one weight.
struct Division {
  std::int64_t count, sample_elements;
  double scale;

  Division(const Shape& shape, const ElementLossOp& loss)
      : count(shape.elements()), sample_elements(shape.elements(1, shape.rank())),
        scale(loss.scale() / static_cast<double>(sample_elements)) {}
};

template <typename Formula>
Kernel make_forward(const KernelRequest& request, const ElementLossOp& loss, Formula formula) {
  const Division division(request.inputs[0].shape, loss);
  const bool weighted = request.inputs.size() == 3;
  const std::int64_t each = std::int64_t{kLossThreads} * kPacks * kNeighbours;
  const LossMemory memory(request.device, std::clamp<std::int64_t>((division.count + each - 1) / each, 1, kMostLossBlocks));
  const Divisor sample_elements(division.sample_elements, division.count);
  auto run = [=](const Launch& on) {
    const float *x = on.input<float>(0), *t = on.input<float>(1);
    const bool wide = is_aligned(x, 16) && is_aligned(t, 16);
    const LossSum sum = memory.sum(on, division.scale);
    if (weighted) {
      launch(on, memory.grid(), kLossThreads, element_loss<Formula, Weighted>, division.count, wide, x, t,
             Weighted{on.input<float>(2), sample_elements}, formula, sum);
    } else {
      launch(on, memory.grid(), kLossThreads, element_loss<Formula, Unweighted>, division.count, wide, x, t, Unweighted{},
             formula, sum);
    }
  };
  return {text(request.op.name(), "_cuda"), run, memory.workspace_bytes()};
}

template <typename Formula>
struct Derivative {
  Formula formula;
  float scale;
  const float* cotangent;

  __device__ float operator()(float x, float t) const { return scale * *cotangent * formula.derivative(x, t); }
  __device__ float operator()(float x, float t, float weight) const {
    return scale * *cotangent * weight * formula.derivative(x, t);
  }
};

template <typename Formula>
Kernel make_backward(const KernelRequest& request, const ElementLossOp& loss, Formula formula) {
  const Division division(request.inputs[0].shape, loss);
  const bool weighted = request.inputs.size() == 4;
  const int cotangent_input = weighted ? 3 : 2;
  const Repeated<float> weights = repeated<float>(
      nullptr, division.sample_elements, request.inputs[0].shape[0], division.count);
  auto run = [=](const Launch& on) {
    const Derivative<Formula> derivative{formula, static_cast<float>(division.scale), on.input<float>(cotangent_input)};
    const Full<float> x{on.input<float>(0)}, t{on.input<float>(1)};
    if (weighted) {
      launch_elementwise(on, division.count, on.output<float>(0), derivative, x, t, weights.of(on.input<float>(2)));
    } else {
      launch_elementwise(on, division.count, on.output<float>(0), derivative, x, t);
    }
  };
  return {text(request.op.name(), "_cuda"), run};
}

// Calls make(formula) with the formula of the loss.
template <typename Make>
Kernel with_formula(const ElementLossOp& loss, const Make& make) {
  switch (loss.kind()) {
    case ElementLossKind::kSquared:
      return make(Squared{});
    case ElementLossKind::kAbsolute:
      return make(Absolute{});
    case ElementLossKind::kBinaryCrossEntropy: {
      const double smoothing = loss.label_smoothing();
      return make(BinaryCrossEntropy{static_cast<float>(1.0 - smoothing), static_cast<float>(0.5 * smoothing)});
    }
  }
  broken_invariant("element loss of an unknown kind");
}

Kernel element_loss_cuda(const KernelRequest& request) {
  const auto& loss = request.op_as<ElementLossOp>();
  return with_formula(loss, [&](auto formula) { return make_forward(request, loss, formula); });
}

Kernel element_loss_backward_cuda(const KernelRequest& request) {
  const ElementLossOp& loss = request.op_as<ElementLossBackwardOp>().loss();
  return with_formula(loss, [&](auto formula) { return make_backward(request, loss, formula); });
}

}  // namespace

void register_element_loss_cuda(KernelRegistry& registry) {
  for (const ElementLossKind kind :
       {ElementLossKind::kSquared, ElementLossKind::kAbsolute, ElementLossKind::kBinaryCrossEntropy}) {
    const ElementLossOp loss(kind, 1.0);
    registry.add(std::string(loss.name()), DeviceKind::kCuda, {element_loss_cuda, nullptr});
    registry.add(std::string(ElementLossBackwardOp(loss).name()), DeviceKind::kCuda, {element_loss_backward_cuda, nullptr});
  }
}

}  // namespace lockstep
