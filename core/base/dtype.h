// Element types of tensors and of stored arrays.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace lockstep {

enum class DType : std::uint8_t { kF32, kBF16, kF16, kF64, kU8, kI8, kI16, kI32, kI64 };

inline constexpr DType kAllDTypes[] = {DType::kF32, DType::kBF16, DType::kF16, DType::kF64, DType::kU8,
                                       DType::kI8,  DType::kI16,  DType::kI32, DType::kI64};

// Bytes of one element.
std::size_t size_of(DType dtype);

// "f32", "bf16", ..., as printed and as written in configurations.
std::string_view name_of(DType dtype);

bool is_floating(DType dtype);

}  // namespace lockstep
