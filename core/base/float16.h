// IEEE binary16 as stored in files. Conversion to float is exact (NaN stays NaN).
#pragma once

#include <bit>
#include <cstdint>

namespace lockstep {

struct Float16 {
  std::uint16_t bits = 0;

  operator float() const {  // NOLINT: implicit, so that kernels can be templates over the type
    const std::uint32_t sign = std::uint32_t{bits & 0x8000u} << 16;
    const std::uint32_t exponent = (bits >> 10) & 31u;
    const std::uint32_t fraction = bits & 0x3ffu;
    if (exponent == 31) return std::bit_cast<float>(sign | 0x7f800000u | (fraction << 13));
    if (exponent != 0) {
      return std::bit_cast<float>(sign | ((exponent + 112) << 23) | (fraction << 13));
    }
    const float magnitude = static_cast<float>(fraction) * 0x1p-24f;  // zero and subnormal
    return sign != 0 ? -magnitude : magnitude;
  }
};

static_assert(sizeof(Float16) == 2);

}  // namespace lockstep
