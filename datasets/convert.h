// Stored values as numbers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "core/base/bfloat16.h"
#include "core/base/dtype.h"
#include "core/base/error.h"
#include "core/base/float16.h"

namespace lockstep {

// Calls body(pointer) with `data` as a pointer to the C++ type of `dtype`.
// REQUIRES: `data` is aligned for that type.
template <typename Body>
decltype(auto) with_values(DType dtype, const std::byte* data, const Body& body) {
  switch (dtype) {
    case DType::kF32:
      return body(reinterpret_cast<const float*>(data));
    case DType::kBF16:
      return body(reinterpret_cast<const BFloat16*>(data));
    case DType::kF16:
      return body(reinterpret_cast<const Float16*>(data));
    case DType::kF64:
      return body(reinterpret_cast<const double*>(data));
    case DType::kU8:
      return body(reinterpret_cast<const std::uint8_t*>(data));
    case DType::kI8:
      return body(reinterpret_cast<const std::int8_t*>(data));
    case DType::kI16:
      return body(reinterpret_cast<const std::int16_t*>(data));
    case DType::kI32:
      return body(reinterpret_cast<const std::int32_t*>(data));
    case DType::kI64:
      return body(reinterpret_cast<const std::int64_t*>(data));
  }
  broken_invariant("dtype ", static_cast<int>(dtype), " is not known");
}

// A stored element in double; exact but for integers beyond 2^53.
template <typename Value>
double as_double(Value value) {
  if constexpr (std::is_arithmetic_v<Value>) {
    return static_cast<double>(value);
  } else {
    return static_cast<double>(static_cast<float>(value));
  }
}

}  // namespace lockstep
