// Numbers as foreign files store them, and as Lockstep does.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "core/base/dtype.h"

namespace lockstep {

struct StoredElement {
  enum class Kind : std::uint8_t { kBool, kSigned, kUnsigned, kFloat };

  Kind kind = Kind::kFloat;
  std::size_t bytes = 4;
  bool big_endian = false;

  // True for the widths that there are: integers of 1, 2, 4, 8 bytes, floats of 2, 4, 8.
  bool is_known() const;
  // As it is kept: bool is u8, u16 is i32, u32 and u64 are i64.
  DType dtype() const;
  // Converts `count` elements. Returns the index of the first u64 that i64 does not hold, `count`
  // where there is none. REQUIRES: is_known().
  std::int64_t convert(const std::byte* from, std::int64_t count, std::byte* to) const;
};

}  // namespace lockstep
