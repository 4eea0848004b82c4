// Operands of elementwise CUDA kernels that broadcast.
#pragma once

#include "core/kernel/cuda_elementwise.h"
#include "ops/broadcast_loops.h"

namespace lockstep {

// How an operand meets the elements of the result.
struct Meeting {
  enum class Kind { kFull, kRepeated, kOther } kind = Kind::kOther;
  std::int64_t inner = 1, period = 1;  // of kRepeated: element i / inner % period
};

inline Meeting meeting_of(const BroadcastLoops& loops, const std::array<std::int64_t, Shape::kMaxRank>& strides) {
  std::int64_t inner = 1, moving = 0, inner_of_moving = 1, period = 1;
  bool full = true;
  for (int axis = loops.rank - 1; axis >= 0; --axis) {
    full &= strides[axis] == inner;
    if (strides[axis] != 0) {
      ++moving;
      inner_of_moving = inner;
      period = loops.extent[axis];
    }
    inner *= loops.extent[axis];
  }
  if (full) return {Meeting::Kind::kFull};
  if (moving <= 1) return {Meeting::Kind::kRepeated, inner_of_moving, period};
  return {};
}

// The operand whose element i is found by the loops that i is in, whatever they are. Made without memory where the kernel is
// made.
template <typename T>
struct Looped {
  using Element = T;
  static constexpr std::size_t kSize = sizeof(T);
  static constexpr bool wide = true;
  const T* x = nullptr;
  int rank = 0;
  Divisor extent[Shape::kMaxRank];
  std::int64_t stride[Shape::kMaxRank] = {};

  Looped(const BroadcastLoops& loops, const std::array<std::int64_t, Shape::kMaxRank>& strides) : rank(loops.rank) {
    std::int64_t count = loops.inner() * loops.outer();
    for (int axis = rank - 1; axis >= 0; --axis) {
      extent[axis] = Divisor(loops.extent[axis], count);
      stride[axis] = strides[axis];
    }
  }
  Looped of(const T* memory) const {
    Looped out = *this;
    out.x = memory;
    return out;
  }
  template <int N>
  void prepare() {}
  template <bool kFast, int N>
  __device__ void load(std::int64_t first, int n, T (&to)[N]) const {
#pragma unroll
    for (int k = 0; k < N; ++k) {
      std::int64_t rest = first + k, at = 0;
#pragma unroll
      for (int axis = Shape::kMaxRank - 1; axis >= 0; --axis) {
        if (axis >= rank) continue;
        const std::int64_t next = extent[axis].quotient(rest);
        at += (rest - next * extent[axis].divisor) * stride[axis];
        rest = next;
      }
      to[k] = kFast || k < n ? x[at] : T{};
    }
  }
};

}  // namespace lockstep
