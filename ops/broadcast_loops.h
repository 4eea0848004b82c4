// The loops of an elementwise function of two tensors under broadcasting. Axes of extent 1 vanish
// and neighbouring axes along which both tensors go on alike become one, so equal shapes are one
// loop, a bias is two, and the last loop is as long as it can be.
#pragma once

#include <array>

#include "core/base/shape.h"

namespace lockstep {

struct BroadcastLoops {
  int rank = 0;  // number of loops, >= 1; outermost first
  std::array<std::int64_t, Shape::kMaxRank> extent{};
  // Elements from one step of a loop to the next; 0 where the tensor is repeated.
  std::array<std::int64_t, Shape::kMaxRank> a_stride{}, b_stride{};

  // REQUIRES: both shapes broadcast to `result`.
  BroadcastLoops(const Shape& a, const Shape& b, const Shape& result);

  std::int64_t inner() const { return extent[rank - 1]; }
  // Iterations of all loops but the last.
  std::int64_t outer() const;
};

}  // namespace lockstep
