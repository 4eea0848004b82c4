// Elementwise CUDA kernels: y[i] = f(a[i], b[i], ...) for all i < count, in one launch.
//
//   launch_elementwise(on, count, y, Add{}, Full<T>{a}, repeated(b, inner, period, count));
//
// An operand says how its element i is found: Full has one for each element of y, Repeated is smaller. Both are loaded
// 16 bytes at once where their memory is aligned so far, and element by element where it is not; the bits are the same.
// y may be the memory of a Full operand (the same pointer, not another one into it): a thread has loaded all that it
// works on before it stores.
#pragma once

#include <cstdint>
#include <type_traits>

#include "core/kernel/cuda_kernel.h"

namespace lockstep {

// ---- Division by a number that the host knows ----------------------------------------------------

// Exact for dividends in [0, limit). Below 2^31 it is a multiplication, an addition and a shift: T. Granlund, P.
// Montgomery, "Division by invariant integers using multiplication", PLDI 1994.
struct Divisor {
  std::int64_t divisor = 1;
  std::uint32_t magic = 1, shift = 0;
  bool small = true;

  Divisor() = default;
  // A divisor below 1 (of an empty tensor, where nothing is divided) counts as 1.
  Divisor(std::int64_t by, std::int64_t limit) : divisor(std::max<std::int64_t>(by, 1)) {
    constexpr std::int64_t kSmall = std::int64_t{1} << 31;
    small = limit <= kSmall && divisor < kSmall;
    if (!small) return;
    while ((std::int64_t{1} << shift) < divisor) ++shift;
    const std::uint64_t power = std::uint64_t{1} << shift, by_unsigned = static_cast<std::uint64_t>(divisor);
    magic = static_cast<std::uint32_t>((power - by_unsigned) * (std::uint64_t{1} << 32) / by_unsigned + 1);
  }
  __device__ std::int64_t quotient(std::int64_t n) const {
    if (!small) return n / divisor;
    const auto low = static_cast<std::uint32_t>(n);
    const auto high = static_cast<std::uint32_t>((std::uint64_t{low} * magic) >> 32);
    return (high + low) >> shift;
  }
  __device__ std::int64_t remainder(std::int64_t n) const { return n - quotient(n) * divisor; }
};

// ---- Loads and stores ----------------------------------------------------------------------------

inline bool is_aligned(const void* address, std::size_t bytes) {
  return reinterpret_cast<std::uintptr_t>(address) % bytes == 0;
}

// The first n of N neighbours, then zeros. `wide`: the address is a multiple of sizeof(T) * N.
template <typename T, int N>
__device__ inline void load_elements(const T* from, int n, bool wide, T (&to)[N]) {
  if (wide && n == N) {
    const Pack<T, N> pack = *reinterpret_cast<const Pack<T, N>*>(from);
#pragma unroll
    for (int k = 0; k < N; ++k) to[k] = pack.element[k];
  } else {
#pragma unroll
    for (int k = 0; k < N; ++k) to[k] = k < n ? from[k] : T{};
  }
}
template <typename T, int N>
__device__ inline void store_elements(T* to, int n, bool wide, const T (&from)[N]) {
  if (wide && n == N) {
    Pack<T, N> pack;
#pragma unroll
    for (int k = 0; k < N; ++k) pack.element[k] = from[k];
    *reinterpret_cast<Pack<T, N>*>(to) = pack;
  } else {
#pragma unroll
    for (int k = 0; k < N; ++k) {
      if (k < n) to[k] = from[k];
    }
  }
}

__device__ inline float to_float(std::int32_t value) { return static_cast<float>(value); }
__device__ inline float to_float(std::uint8_t value) { return static_cast<float>(value); }

// ---- Operands ------------------------------------------------------------------------------------

template <typename T>
struct Full {
  using Element = T;
  const T* x = nullptr;
  bool wide = false;

  void prepare(int n) { wide = is_aligned(x, sizeof(T) * static_cast<std::size_t>(n)); }
  // The elements i, ..., i + n - 1, n <= N; i is a multiple of N.
  template <int N>
  __device__ void load(std::int64_t i, int n, T (&to)[N]) const {
    load_elements(x + i, n, wide, to);
  }
};

// Element i is x[i / inner % period]: each element `inner` times in a row, the whole of them again and again. One number
// has period 1, a vector along the last axis inner 1. Made without memory where the kernel is made.
template <typename T>
struct Repeated {
  using Element = T;
  enum class Access { kOne, kWide, kEach };  // N neighbours are one element; lie side by side and aligned; anything

  const T* x = nullptr;
  Divisor inner, period;
  Access access = Access::kEach;

  Repeated of(const T* memory) const {
    Repeated out = *this;
    out.x = memory;
    return out;
  }
  void prepare(int n) {
    if (period.divisor == 1 || inner.divisor % n == 0) {
      access = Access::kOne;
    } else if (inner.divisor == 1 && period.divisor % n == 0 &&
               is_aligned(x, sizeof(T) * static_cast<std::size_t>(n))) {
      access = Access::kWide;
    } else {
      access = Access::kEach;
    }
  }
  __device__ std::int64_t place(std::int64_t i) const {
    if (period.divisor == 1) return 0;
    return period.remainder(inner.divisor == 1 ? i : inner.quotient(i));
  }
  template <int N>
  __device__ void load(std::int64_t i, int n, T (&to)[N]) const {
    if (access == Access::kOne) {
      const T value = x[place(i)];
#pragma unroll
      for (int k = 0; k < N; ++k) to[k] = value;
    } else if (access == Access::kWide) {
      load_elements(x + place(i), N, true, to);
    } else {
#pragma unroll
      for (int k = 0; k < N; ++k) to[k] = k < n ? x[place(i + k)] : T{};
    }
  }
};

template <typename T>
Repeated<T> repeated(const T* x, std::int64_t inner, std::int64_t period, std::int64_t count) {
  return {x, Divisor(inner, count), Divisor(period, count)};
}

// ---- The kernel ----------------------------------------------------------------------------------

namespace elementwise {

// N elements of each operand, as they are in memory: they are converted when all have been loaded, so that all loads
// are in flight together.
template <int N, typename... Operands>
struct Loaded {
  __device__ void load(std::int64_t, int) {}
  template <typename Function, typename... Arguments>
  __device__ auto apply(const Function& f, int, Arguments... arguments) const {
    return f(arguments...);
  }
};
template <int N, typename First, typename... Rest>
struct Loaded<N, First, Rest...> {
  typename First::Element element[N];
  Loaded<N, Rest...> rest;

  __device__ void load(std::int64_t i, int n, const First& first, const Rest&... others) {
    first.template load<N>(i, n, element);
    rest.load(i, n, others...);
  }
  // f of the elements k.
  template <typename Function, typename... Arguments>
  __device__ auto apply(const Function& f, int k, Arguments... arguments) const {
    return rest.apply(f, k, arguments..., to_float(element[k]));
  }
};

template <typename Y, typename Result>
__device__ inline Y converted(Result result) {
  if constexpr (std::is_same_v<Y, Result>) {
    return result;
  } else {
    return from_float<Y>(result);
  }
}

constexpr int kPacks = 2;  // of N elements that a thread has in flight

template <int N, typename Y, typename Function, typename... Operands>
__global__ void __launch_bounds__(kThreads)
    run(std::int64_t count, Y* y, bool wide, Function f, Operands... operands) {
  const std::int64_t first = (static_cast<std::int64_t>(blockIdx.x) * kPacks * kThreads + threadIdx.x) * N;
  Loaded<N, Operands...> loaded[kPacks];
#pragma unroll
  for (int p = 0; p < kPacks; ++p) {
    const std::int64_t i = first + p * kThreads * N;
    if (i < count) loaded[p].load(i, static_cast<int>(count - i < N ? count - i : N), operands...);
  }
#pragma unroll
  for (int p = 0; p < kPacks; ++p) {
    const std::int64_t i = first + p * kThreads * N;
    if (i >= count) break;
    Y out[N];
#pragma unroll
    for (int k = 0; k < N; ++k) out[k] = converted<Y>(loaded[p].apply(f, k));
    store_elements(y + i, static_cast<int>(count - i < N ? count - i : N), wide, out);
  }
}

template <std::size_t... kSizes>
constexpr int neighbours() {
  std::size_t largest = 1;
  ((largest = kSizes > largest ? kSizes : largest), ...);
  return static_cast<int>(16 / largest);
}

}  // namespace elementwise

// y[i] = f(operands at i...) for i < count. f takes a float for each operand and returns a float, which is rounded to Y,
// or a Y. f of the elements beyond the last is computed and thrown away.
template <typename Y, typename Function, typename... Operands>
void launch_elementwise(const Launch& on, std::int64_t count, Y* y, const Function& f, Operands... operands) {
  constexpr int N = elementwise::neighbours<sizeof(Y), sizeof(typename Operands::Element)...>();
  (operands.prepare(N), ...);
  launch(on, blocks_for(count, std::int64_t{kThreads} * elementwise::kPacks * N), kThreads,
         elementwise::run<N, Y, Function, Operands...>, count, y, is_aligned(y, sizeof(Y) * N), f, operands...);
}

}  // namespace lockstep
