// Elementary functions of float without branches, tables or calls, so that g++ vectorises plain
// loops over them (std::exp and the like are calls into libm, one element at a time):
//
//   for (std::int64_t i = 0; i < n; ++i) y[i] = vector_math::tanh(x[i]);
//
// Errors against the exact value, over all floats: exp 1.0, tanh 2.4, sigmoid 2.4 units in
// the last place. NaN gives NaN; infinities give the limits. Results do not depend on the place in
// a vector: every multiply-add is an explicit fused one. The polynomials are minimax fits (Lawson's
// iteration) of our own.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

namespace lockstep::vector_math {

namespace detail {

// x = n ln 2 + r with |r| <= ln 2 / 2. REQUIRES: |x| < 2^20.
struct Reduced {
  float r;
  std::int32_t n;
};

[[gnu::always_inline]] inline Reduced reduce(float x) {
  constexpr float kLog2E = 0x1.715476p+0f;
  constexpr float kLn2High = 0x1.62e430p-1f, kLn2Low = -0x1.05c610p-29f;
  constexpr float kMagic = 0x1.8p23f;  // adding it leaves a float's integer part in the low bits
  const float shifted = std::fma(x, kLog2E, kMagic);
  const float n = shifted - kMagic;
  const float r = std::fma(n, -kLn2Low, std::fma(n, -kLn2High, x));
  return {r, std::bit_cast<std::int32_t>(shifted) - std::bit_cast<std::int32_t>(kMagic)};
}

// exp(r) - 1 for |r| <= ln 2 / 2.
[[gnu::always_inline]] inline float expm1_reduced(float r) {
  float p = 0.000198458773f;
  p = std::fma(p, r, 0.00139406277f);
  p = std::fma(p, r, 0.00833338965f);
  p = std::fma(p, r, 0.0416663624f);
  p = std::fma(p, r, 0.166666657f);
  p = std::fma(p, r, 0.5f);
  return std::fma(r * r, p, r);
}

// 2^n for -126 <= n <= 127.
[[gnu::always_inline]] inline float power_of_two(std::int32_t n) {
  return std::bit_cast<float>((n + 127) << 23);
}

// exp(x) - 1 for 0 <= x <= 80.
[[gnu::always_inline]] inline float expm1_positive(float x) {
  const Reduced reduced = reduce(x);
  const float scale = power_of_two(reduced.n);
  return std::fma(scale, expm1_reduced(reduced.r), scale - 1.0f);
}

}  // namespace detail

[[gnu::always_inline]] inline float exp(float x) {
  // Outside these bounds the result rounds to 0 or overflows; the comparisons let NaN pass.
  x = x < -104.0f ? -104.0f : x;
  x = x > 89.0f ? 89.0f : x;
  const detail::Reduced reduced = detail::reduce(x);
  // 2^n in two factors: n = 128 (overflow) and n < -126 (denormal results) have no float of their
  // own.
  const std::int32_t half = reduced.n >> 1;
  const float mantissa = 1.0f + detail::expm1_reduced(reduced.r);
  return mantissa * detail::power_of_two(half) * detail::power_of_two(reduced.n - half);
}

// exp(x) for x <= 0, cheaper by a third; 0 for x < -87.3365, where results are below the normal
// floats.
[[gnu::always_inline]] inline float exp_nonpositive(float x) {
  const float bounded = x < -87.3365f ? -87.3365f : x;
  const detail::Reduced reduced = detail::reduce(bounded);
  const float result = (1.0f + detail::expm1_reduced(reduced.r)) * detail::power_of_two(reduced.n);
  return x < -87.3365f ? 0.0f : result;
}

[[gnu::always_inline]] inline float tanh(float x) {
  float a = std::abs(x);
  a = a > 10.0f ? 10.0f : a;  // tanh is 1 to rounding from 9.02 on
  const float e = detail::expm1_positive(2.0f * a);
  return std::copysign(e / (e + 2.0f), x);
}

// 1 / (1 + exp(-x)), also where exp(-x) overflows; 0 for x < -87.3365.
[[gnu::always_inline]] inline float sigmoid(float x) {
  const float e = exp_nonpositive(-std::abs(x));
  return (x < 0.0f ? e : 1.0f) / (1.0f + e);
}

}  // namespace lockstep::vector_math
