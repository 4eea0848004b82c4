// bfloat16: the upper half of an IEEE float. Conversion from float rounds to nearest even and keeps
// NaN a NaN; conversion to float is exact.
#pragma once

#include <bit>
#include <cstdint>

namespace lockstep {

struct BFloat16 {
  std::uint16_t bits = 0;

  BFloat16() = default;
  BFloat16(float value) {  // NOLINT: implicit, so that kernels can be templates over the type
    const auto word = std::bit_cast<std::uint32_t>(value);
    const std::uint32_t rounded = (word + 0x7fffu + ((word >> 16) & 1u)) >> 16;
    const bool is_nan = (word & 0x7fffffffu) > 0x7f800000u;
    bits = static_cast<std::uint16_t>(is_nan ? ((word >> 16) | 0x40u) : rounded);
  }
  operator float() const {  // NOLINT: implicit, see above
    return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
  }
};

static_assert(sizeof(BFloat16) == 2);

}  // namespace lockstep
