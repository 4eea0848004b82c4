#include "launcher/weights/weights.h"

#include <bit>
#include <cstring>

#include "core/base/bfloat16.h"
#include "core/base/error.h"
#include "core/base/float16.h"

namespace lockstep {
namespace {

static_assert(std::endian::native == std::endian::little, "files are read as memory is");

template <typename Number>
std::vector<float> converted(const std::byte* bytes, std::size_t elements) {
  std::vector<float> out(elements);
  for (std::size_t i = 0; i < elements; ++i) {
    Number number;
    std::memcpy(&number, bytes + i * sizeof number, sizeof number);
    out[i] = static_cast<float>(number);
  }
  return out;
}

}  // namespace

bool is_weight_dtype(DType dtype) {
  return is_floating(dtype);
}

std::vector<float> weights_from(DType dtype, const std::byte* bytes, std::size_t elements) {
  switch (dtype) {
    case DType::kF32:
      return converted<float>(bytes, elements);
    case DType::kF16:
      return converted<Float16>(bytes, elements);
    case DType::kBF16:
      return converted<BFloat16>(bytes, elements);
    case DType::kF64:
      return converted<double>(bytes, elements);
    default:
      broken_invariant("weights of ", name_of(dtype));
  }
}

}  // namespace lockstep
