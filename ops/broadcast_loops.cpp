#include "ops/broadcast_loops.h"

namespace lockstep {
namespace {

// Strides of a row-major tensor along the axes of `result`, 0 where it is repeated.
std::array<std::int64_t, Shape::kMaxRank> strides_of(const Shape& shape, const Shape& result) {
  std::array<std::int64_t, Shape::kMaxRank> strides{};
  std::int64_t stride = 1;
  for (int i = 1; i <= shape.rank(); ++i) {
    if (shape[-i] != 1) strides[result.rank() - i] = stride;
    stride *= shape[-i];
  }
  return strides;
}

}  // namespace

BroadcastLoops::BroadcastLoops(const Shape& a, const Shape& b, const Shape& result) {
  const auto a_all = strides_of(a, result), b_all = strides_of(b, result);
  for (int axis = 0; axis < result.rank(); ++axis) {
    const std::int64_t n = result[axis];
    if (n == 1) continue;
    const bool continues =
        rank > 0 && a_stride[rank - 1] == n * a_all[axis] && b_stride[rank - 1] == n * b_all[axis];
    if (continues) {
      extent[rank - 1] *= n;
    } else {
      extent[rank++] = n;
    }
    a_stride[rank - 1] = a_all[axis];
    b_stride[rank - 1] = b_all[axis];
  }
  if (rank > 0) return;
  rank = 1;
  extent[0] = 1;
  a_stride[0] = b_stride[0] = 1;
}

std::int64_t BroadcastLoops::outer() const {
  std::int64_t count = 1;
  for (int i = 0; i + 1 < rank; ++i) count *= extent[i];
  return count;
}

}  // namespace lockstep
