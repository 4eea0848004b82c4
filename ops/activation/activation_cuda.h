// The activation functions and their derivatives on single floats for CUDA kernels: those of this room, and fused ones that
// end in an activation. The device twin of activation_math.h.
//
// Each function is a struct with `float operator()(float x)` (forward) and `float backward(float dy, float saved)`, where
// `saved` is y, or x for the gelus. Products and sums that a neighbouring function might be contracted with are written as
// intrinsics, so a function has the same bits in every kernel.
#pragma once

#include <optional>

#include "core/base/error.h"
#include "core/kernel/cuda_kernel.h"
#include "ops/activation/activation.h"

namespace lockstep::cuda_activation {

// The function itself, where there is none.
struct Identity {
  __device__ float operator()(float x) const { return x; }
  __device__ float backward(float dy, float) const { return dy; }
};

struct Relu {
  __device__ float operator()(float x) const { return x < 0.0f ? 0.0f : x; }
  __device__ float backward(float dy, float y) const { return y <= 0.0f ? 0.0f : dy; }
};

struct LeakyRelu {
  float slope;
  __device__ float operator()(float x) const { return x > 0.0f ? x : __fmul_rn(slope, x); }
  __device__ float backward(float dy, float y) const { return y > 0.0f ? dy : __fmul_rn(slope, dy); }
};

// 1 / (1 + exp(-x)), without overflow on either side.
__device__ inline float sigmoid(float x) {
  const float e = expf(-fabsf(x)), inverse = 1.0f / __fadd_rn(1.0f, e);
  return x < 0.0f ? __fmul_rn(e, inverse) : inverse;
}

struct Sigmoid {
  __device__ float operator()(float x) const { return sigmoid(x); }
  __device__ float backward(float dy, float y) const { return __fmul_rn(dy, __fmul_rn(y, __fsub_rn(1.0f, y))); }
};

struct Tanh {
  __device__ float operator()(float x) const { return tanhf(x); }
  __device__ float backward(float dy, float y) const { return __fmul_rn(dy, fmaf(-y, y, 1.0f)); }
};

// Both gelus and their derivatives have limits at the infinities that the formulas lose (0 times infinity); 100 stands
// for everything beyond. The comparisons let NaN pass.
__device__ inline float at_least(float x, float bound) { return x < bound ? bound : x; }
__device__ inline float at_most(float x, float bound) { return x > bound ? bound : x; }

// Phi(-z) = exp(-z^2 / 2) R(z) for z >= 0: see activation_math.h. x Phi(x) is -z Phi(-z) on the left, x - z Phi(-z) on the right.
// exp is taken as a power of 2, for which there is an instruction; the argument's rounding costs less than the fit of R does.
struct Gelu {
  __device__ float operator()(float x) const {
    const float z = at_most(fabsf(x), 100.0f);
    return fmaf(-z, tail(z, bell(z)), fmaxf(x, 0.0f));
  }
  __device__ float backward(float dy, float x) const {
    constexpr float kDensityAtZero = 0.39894228f;  // 1 / sqrt(2 pi)
    x = at_most(at_least(x, -100.0f), 100.0f);
    const float z = fabsf(x), e = bell(z), left = tail(z, e);
    return __fmul_rn(dy, fmaf(x, __fmul_rn(kDensityAtZero, e), x < 0.0f ? left : __fsub_rn(1.0f, left)));
  }
  __device__ static float bell(float z) {
    constexpr float kHalfOfLog2e = 0.72134752f;
    return exp2f(__fmul_rn(__fmul_rn(-kHalfOfLog2e, z), z));
  }
  // Phi(-z), e = bell(z).
  __device__ static float tail(float z, float e) {
    const float t = __fdividef(1.0f, fmaf(0.28f, z, 1.0f));
    float p = -0.1067556f;
    p = fmaf(p, t, 0.393812249f);
    p = fmaf(p, t, -0.24350056f);
    p = fmaf(p, t, 0.27425025f);
    p = fmaf(p, t, 0.0653207591f);
    p = fmaf(p, t, 0.116872888f);
    return __fmul_rn(e, __fmul_rn(p, t));
  }
};

struct GeluApproximate {
  static constexpr float kScale = 1.5957691f;  // 2 sqrt(2 / pi)
  static constexpr float kCubic = 0.044715f;
  __device__ float operator()(float x) const {
    x = at_least(x, -100.0f);
    return __fmul_rn(x, gate(x));
  }
  __device__ float backward(float dy, float x) const {
    x = at_most(at_least(x, -100.0f), 100.0f);
    const float s = gate(x);
    const float slope = __fmul_rn(kScale, fmaf(__fmul_rn(3.0f * kCubic, x), x, 1.0f));
    return __fmul_rn(dy, fmaf(__fmul_rn(x, slope), __fmul_rn(s, __fsub_rn(1.0f, s)), s));
  }
  __device__ static float gate(float x) {
    return sigmoid(__fmul_rn(__fmul_rn(kScale, x), fmaf(__fmul_rn(kCubic, x), x, 1.0f)));
  }
};

// The one that is chosen when the kernel runs, or none: where a kernel for each would be too many.
struct Chosen {
  bool any = false;
  ActivationKind kind = ActivationKind::kRelu;
  float slope = 0.0f;

  Chosen() = default;
  explicit Chosen(const std::optional<Activation>& activation) : any(activation.has_value()) {
    if (!any) return;
    kind = activation->kind;
    slope = static_cast<float>(activation->negative_slope);
  }
  __device__ float operator()(float x) const {
    if (!any) return x;
    switch (kind) {
      case ActivationKind::kRelu:
        return Relu{}(x);
      case ActivationKind::kLeakyRelu:
        return LeakyRelu{slope}(x);
      case ActivationKind::kSigmoid:
        return Sigmoid{}(x);
      case ActivationKind::kTanh:
        return Tanh{}(x);
      case ActivationKind::kGelu:
        return Gelu{}(x);
      case ActivationKind::kGeluApproximate:
        return GeluApproximate{}(x);
    }
    return x;
  }
};

// Calls body(function) with the struct above that `activation` names.
template <typename Body>
auto with_function(const Activation& activation, const Body& body) {
  switch (activation.kind) {
    case ActivationKind::kRelu:
      return body(Relu{});
    case ActivationKind::kLeakyRelu:
      return body(LeakyRelu{static_cast<float>(activation.negative_slope)});
    case ActivationKind::kSigmoid:
      return body(Sigmoid{});
    case ActivationKind::kTanh:
      return body(Tanh{});
    case ActivationKind::kGelu:
      return body(Gelu{});
    case ActivationKind::kGeluApproximate:
      return body(GeluApproximate{});
  }
  broken_invariant("an activation of no known kind");
}

}  // namespace lockstep::cuda_activation
