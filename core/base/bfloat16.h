// bfloat16: the upper half of an IEEE float. Conversion from float rounds to nearest even and keeps
// NaN a NaN; conversion to float is exact.
#pragma once

#include <bit>
#include <cstdint>

namespace lockstep {

struct BFloat16 {
  std::uint16_t bits = 0;

  BFloat16() = default;
  BFloat16(float value)  // NOLINT: implicit, so that kernels can be templates over the type
      : bits(rounded(value)) {}
  // Loops that say y[i] = value vectorise under "omp simd"; y[i] = BFloat16(value) does not (g++ 12
  // keeps the temporary in memory).
  BFloat16& operator=(float value) {
    bits = rounded(value);
    return *this;
  }
  operator float() const {  // NOLINT: implicit, see above
    return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
  }

  // The bits of the nearest bfloat16.
  static std::uint16_t rounded(float value) {
    const auto word = std::bit_cast<std::uint32_t>(value);
    const std::uint32_t nearest = (word + 0x7fffu + ((word >> 16) & 1u)) >> 16;
    const std::uint32_t quiet = (word >> 16) | 0x40u;
    return static_cast<std::uint16_t>((word & 0x7fffffffu) > 0x7f800000u ? quiet : nearest);
  }
};

static_assert(sizeof(BFloat16) == 2);

}  // namespace lockstep
