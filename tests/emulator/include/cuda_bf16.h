// CUDA's bfloat16, for the CPU: conversions.
#pragma once

#include "core/base/bfloat16.h"
#include "tests/emulator/include/cuda_runtime.h"

struct __nv_bfloat16 {
  unsigned short bits;
};
struct alignas(4) __nv_bfloat162 {
  __nv_bfloat16 x, y;
};

inline __nv_bfloat16 __float2bfloat16_rn(float value) {
  // The GPU makes 0x7fff of any NaN.
  return {value != value ? static_cast<unsigned short>(0x7fff) : lockstep::BFloat16::rounded(value)};
}
inline __nv_bfloat16 __float2bfloat16(float value) { return __float2bfloat16_rn(value); }
inline float __bfloat162float(__nv_bfloat16 value) { return __uint_as_float(static_cast<unsigned>(value.bits) << 16); }
inline unsigned short __bfloat16_as_ushort(__nv_bfloat16 value) { return value.bits; }
inline __nv_bfloat16 __ushort_as_bfloat16(unsigned short bits) { return {bits}; }
inline __nv_bfloat162 __floats2bfloat162_rn(float x, float y) { return {__float2bfloat16_rn(x), __float2bfloat16_rn(y)}; }
inline __nv_bfloat162 __float22bfloat162_rn(float2 pair) { return __floats2bfloat162_rn(pair.x, pair.y); }
inline float2 __bfloat1622float2(__nv_bfloat162 pair) { return {__bfloat162float(pair.x), __bfloat162float(pair.y)}; }
inline float __low2float(__nv_bfloat162 pair) { return __bfloat162float(pair.x); }
inline float __high2float(__nv_bfloat162 pair) { return __bfloat162float(pair.y); }

// Masks of 16 bits for either half; the comparison `neu` is true of NaN.
inline unsigned __hgt2_mask(__nv_bfloat162 a, __nv_bfloat162 b) {
  return (__low2float(a) > __low2float(b) ? 0xffffu : 0u) | (__high2float(a) > __high2float(b) ? 0xffff0000u : 0u);
}
inline unsigned __hneu2_mask(__nv_bfloat162 a, __nv_bfloat162 b) {
  return (__low2float(a) != __low2float(b) ? 0xffffu : 0u) | (__high2float(a) != __high2float(b) ? 0xffff0000u : 0u);
}

// NaN wins; +0 is more than -0.
inline __nv_bfloat16 __hmax_nan(__nv_bfloat16 a, __nv_bfloat16 b) {
  const float x = __bfloat162float(a), y = __bfloat162float(b);
  if (x != x || y != y) return {0x7fff};
  return x > y || (x == y && (a.bits & 0x8000) == 0) ? a : b;
}
inline __nv_bfloat162 __hmax2_nan(__nv_bfloat162 a, __nv_bfloat162 b) {
  return {__hmax_nan(a.x, b.x), __hmax_nan(a.y, b.y)};
}
