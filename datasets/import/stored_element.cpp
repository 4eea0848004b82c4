#include "datasets/import/stored_element.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>

#include "core/base/error.h"

namespace lockstep {
namespace {

template <typename Value>
Value load(const std::byte* from, bool swapped) {
  std::array<std::byte, sizeof(Value)> bytes;
  std::copy_n(from, sizeof(Value), bytes.begin());
  if (swapped) std::ranges::reverse(bytes);
  Value value;
  std::memcpy(&value, bytes.data(), sizeof(Value));
  return value;
}

template <typename From, typename To>
void widen(const std::byte* from, std::int64_t count, bool swapped, std::byte* to) {
  for (std::int64_t i = 0; i < count; ++i) {
    const auto value = static_cast<To>(load<From>(from, swapped));
    std::memcpy(to, &value, sizeof(To));
    from += sizeof(From);
    to += sizeof(To);
  }
}

}  // namespace

bool StoredElement::is_known() const {
  switch (kind) {
    case Kind::kBool:
      return bytes == 1;
    case Kind::kSigned:
    case Kind::kUnsigned:
      return bytes == 1 || bytes == 2 || bytes == 4 || bytes == 8;
    case Kind::kFloat:
      return bytes == 2 || bytes == 4 || bytes == 8;
  }
  return false;
}

DType StoredElement::dtype() const {
  switch (kind) {
    case Kind::kBool:
      return DType::kU8;
    case Kind::kSigned:
      return bytes == 1   ? DType::kI8
             : bytes == 2 ? DType::kI16
             : bytes == 4 ? DType::kI32
                          : DType::kI64;
    case Kind::kUnsigned:
      return bytes == 1 ? DType::kU8 : bytes == 2 ? DType::kI32 : DType::kI64;
    case Kind::kFloat:
      return bytes == 2 ? DType::kF16 : bytes == 4 ? DType::kF32 : DType::kF64;
  }
  broken_invariant("a stored element of unknown kind");
}

std::int64_t StoredElement::convert(const std::byte* from, std::int64_t count,
                                    std::byte* to) const {
  require(is_known(), "a stored element of ", bytes, " bytes");
  if (kind == Kind::kBool) {
    for (std::int64_t i = 0; i < count; ++i) to[i] = std::byte{from[i] != std::byte{0}};
    return count;
  }
  const bool widened = kind == Kind::kUnsigned && bytes > 1;
  if (widened && bytes == 2) {
    widen<std::uint16_t, std::int32_t>(from, count, big_endian, to);
  } else if (widened && bytes == 4) {
    widen<std::uint32_t, std::int64_t>(from, count, big_endian, to);
  } else if (widened) {
    for (std::int64_t i = 0; i < count; ++i) {
      const auto value = load<std::uint64_t>(from + i * 8, big_endian);
      if (value > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) return i;
      std::memcpy(to + i * 8, &value, sizeof(value));
    }
  } else if (!big_endian || bytes == 1) {
    std::memcpy(to, from, static_cast<std::size_t>(count) * bytes);
  } else if (bytes == 2) {
    widen<std::uint16_t, std::uint16_t>(from, count, true, to);
  } else if (bytes == 4) {
    widen<std::uint32_t, std::uint32_t>(from, count, true, to);
  } else {
    widen<std::uint64_t, std::uint64_t>(from, count, true, to);
  }
  return count;
}

}  // namespace lockstep
