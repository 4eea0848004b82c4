// The activation functions and their derivatives on single floats, written so that g++ vectorises
// loops over them. Used by the kernels of this room and by fused kernels that end in an activation.
//
// Each function is a struct with `float operator()(float x)` (forward) and
// `float backward(float dy, float saved)`, where `saved` is y, or x for the gelus.
#pragma once

#include "core/base/error.h"
#include "core/base/vector_math.h"
#include "ops/activation/activation.h"

namespace lockstep::activation_math {

struct Relu {
  [[gnu::always_inline]] float operator()(float x) const { return x < 0.0f ? 0.0f : x; }
  [[gnu::always_inline]] float backward(float dy, float y) const { return y <= 0.0f ? 0.0f : dy; }
};

struct LeakyRelu {
  float slope;
  [[gnu::always_inline]] float operator()(float x) const { return x > 0.0f ? x : slope * x; }
  [[gnu::always_inline]] float backward(float dy, float y) const {
    return y > 0.0f ? dy : slope * dy;
  }
};

struct Sigmoid {
  [[gnu::always_inline]] float operator()(float x) const { return vector_math::sigmoid(x); }
  [[gnu::always_inline]] float backward(float dy, float y) const { return dy * (y * (1.0f - y)); }
};

struct Tanh {
  [[gnu::always_inline]] float operator()(float x) const { return vector_math::tanh(x); }
  [[gnu::always_inline]] float backward(float dy, float y) const {
    return dy * std::fma(-y, y, 1.0f);
  }
};

// Both gelus and their derivatives have limits at the infinities that the formulas lose (0 times
// infinity); 100 stands for everything beyond. The comparisons let NaN pass.
[[gnu::always_inline]] inline float at_least(float x, float bound) {
  return x < bound ? bound : x;
}
[[gnu::always_inline]] inline float at_most(float x, float bound) {
  return x > bound ? bound : x;
}

// Phi(-z) = exp(-z^2 / 2) R(z) for z >= 0, R a polynomial in 1 / (1 + 0.28 z): the form of C.
// Hastings (26.2.17 in Abramowitz & Stegun) with six terms fitted anew. The error of x Phi(x) is
// 7e-9 beside rounding.
struct Gelu {
  [[gnu::always_inline]] float operator()(float x) const {
    x = at_least(x, -100.0f);
    const float z = std::abs(x);
    return x * distribution(x, z, bell(z));
  }
  [[gnu::always_inline]] float backward(float dy, float x) const {
    constexpr float kDensityAtZero = 0.39894228f;  // 1 / sqrt(2 pi)
    x = at_most(at_least(x, -100.0f), 100.0f);
    const float z = std::abs(x), e = bell(z);
    return dy * std::fma(x, kDensityAtZero * e, distribution(x, z, e));
  }
  [[gnu::always_inline]] static float bell(float z) {
    return vector_math::exp_nonpositive(-0.5f * z * z);
  }
  [[gnu::always_inline]] static float distribution(float x, float z, float e) {
    const float t = 1.0f / std::fma(0.28f, z, 1.0f);
    float p = -0.1067556f;
    p = std::fma(p, t, 0.393812249f);
    p = std::fma(p, t, -0.24350056f);
    p = std::fma(p, t, 0.27425025f);
    p = std::fma(p, t, 0.0653207591f);
    p = std::fma(p, t, 0.116872888f);
    const float tail = e * (p * t);
    return x < 0.0f ? tail : 1.0f - tail;
  }
};

struct GeluApproximate {
  static constexpr float kScale = 1.5957691f;  // 2 sqrt(2 / pi)
  static constexpr float kCubic = 0.044715f;
  [[gnu::always_inline]] float operator()(float x) const {
    x = at_least(x, -100.0f);
    return x * gate(x);
  }
  [[gnu::always_inline]] float backward(float dy, float x) const {
    x = at_most(at_least(x, -100.0f), 100.0f);
    const float s = gate(x);
    const float slope = kScale * std::fma(3.0f * kCubic * x, x, 1.0f);
    return dy * std::fma(x * slope, s * (1.0f - s), s);
  }
  [[gnu::always_inline]] static float gate(float x) {
    return vector_math::sigmoid(kScale * x * std::fma(kCubic * x, x, 1.0f));
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

}  // namespace lockstep::activation_math
