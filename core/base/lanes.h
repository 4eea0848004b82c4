// Vectors of eight floats, and reductions over contiguous memory with them. The order of the
// additions is fixed by the length alone: in a block, four accumulators of eight lanes over 32
// elements at a time, one over what is left of whole eights, a tree over the lanes, then the last
// elements one by one.
#pragma once

#include <cstdint>
#include <cstring>

#include "core/base/bfloat16.h"

namespace lockstep {

typedef float Float8 __attribute__((vector_size(32)));

// Eight neighbours as floats; no alignment needed.
[[gnu::always_inline]] inline void load(Float8& to, const float* from) {
  std::memcpy(&to, from, sizeof(to));
}
[[gnu::always_inline]] inline void load(Float8& to, const BFloat16* from) {
  typedef std::uint16_t Half8 __attribute__((vector_size(16)));
  typedef std::uint32_t Word8 __attribute__((vector_size(32)));
  Half8 halves;
  std::memcpy(&halves, from, sizeof(halves));
  const Word8 words = __builtin_convertvector(halves, Word8) << 16;
  std::memcpy(&to, &words, sizeof(to));
}

[[gnu::always_inline]] inline void store(float* to, const Float8& from) {
  std::memcpy(to, &from, sizeof(from));
}

struct AddLanes {
  static constexpr float kIdentity = 0.0f;
  template <typename V>
  [[gnu::always_inline]] static void combine(V& into, const V& with) {
    into += with;
  }
};

// The larger of two; a NaN in `with` is passed over, one in `into` stays.
struct MaxLanes {
  static constexpr float kIdentity = -__builtin_inff();
  template <typename V>
  [[gnu::always_inline]] static void combine(V& into, const V& with) {
    into = into < with ? with : into;
  }
};

// Combines at(begin), ..., at(end - 1). `at8(i, v)` sets v to the elements i .. i + 7, `at(i)`
// gives one.
template <typename Lanes, typename At8, typename At>
[[gnu::always_inline]] inline float reduce_block(std::int64_t begin, std::int64_t end,
                                                 const At8& at8, const At& at) {
  Float8 total = Float8{} + Lanes::kIdentity, v;
  std::int64_t i = begin;
  if (end - i >= 32) {
    Float8 a = total, b = total, c = total;
    for (; i + 32 <= end; i += 32) {
      at8(i, v);
      Lanes::combine(total, v);
      at8(i + 8, v);
      Lanes::combine(a, v);
      at8(i + 16, v);
      Lanes::combine(b, v);
      at8(i + 24, v);
      Lanes::combine(c, v);
    }
    Lanes::combine(total, a);
    Lanes::combine(b, c);
    Lanes::combine(total, b);
  }
  for (; i + 8 <= end; i += 8) {
    at8(i, v);
    Lanes::combine(total, v);
  }
  typedef float Float4 __attribute__((vector_size(16)));
  Float4 low, high;
  std::memcpy(&low, &total, 16);
  std::memcpy(&high, reinterpret_cast<const char*>(&total) + 16, 16);
  Lanes::combine(low, high);
  float first = low[0], second = low[1];
  Lanes::combine(first, float(low[2]));
  Lanes::combine(second, float(low[3]));
  Lanes::combine(first, second);
  for (; i < end; ++i) Lanes::combine(first, at(i));
  return first;
}

// The same over blocks of 4096 elements, whose results are combined in a binary tree (by halves):
// beyond a block the error of a sum grows with the logarithm of its length only.
template <typename Lanes, typename At8, typename At>
inline float reduce_lanes(std::int64_t begin, std::int64_t end, const At8& at8, const At& at) {
  constexpr std::int64_t kBlock = 4096;
  const std::int64_t blocks = (end - begin + kBlock - 1) / kBlock;
  if (blocks <= 1) return reduce_block<Lanes>(begin, end, at8, at);
  const std::int64_t middle = begin + blocks / 2 * kBlock;
  float first = reduce_lanes<Lanes>(begin, middle, at8, at);
  Lanes::combine(first, reduce_lanes<Lanes>(middle, end, at8, at));
  return first;
}

// Sum of n elements.
template <typename T>
inline float sum_lanes(const T* x, std::int64_t n) {
  return reduce_lanes<AddLanes>(
      0, n, [x](std::int64_t i, Float8& v) { load(v, x + i); },
      [x](std::int64_t i) { return float(x[i]); });
}

// Sum of the products of n pairs.
template <typename A, typename B>
inline float dot_lanes(const A* a, const B* b, std::int64_t n) {
  return reduce_lanes<AddLanes>(
      0, n,
      [a, b](std::int64_t i, Float8& v) {
        Float8 w;
        load(v, a + i);
        load(w, b + i);
        v *= w;
      },
      [a, b](std::int64_t i) { return float(a[i]) * float(b[i]); });
}

// The largest of n elements, NaN passed over; -infinity for n = 0.
template <typename T>
inline float max_lanes(const T* x, std::int64_t n) {
  return reduce_lanes<MaxLanes>(
      0, n, [x](std::int64_t i, Float8& v) { load(v, x + i); },
      [x](std::int64_t i) { return float(x[i]); });
}

}  // namespace lockstep
