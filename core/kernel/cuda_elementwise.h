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

// Exact for dividends in [0, limit): a multiplication, an addition and a shift, in 32 bits where the limit is at most 2^31.
// T. Granlund, P. Montgomery, "Division by invariant integers using multiplication", PLDI 1994.
struct Divisor {
  std::int64_t divisor = 1;
  std::uint64_t magic = 1;  // 2^w (2^shift - divisor) / divisor + 1, w the 32 or 64 bits of a word
  std::uint32_t shift = 0;  // 2^shift >= divisor
  bool small = true;

  Divisor() = default;
  // A divisor below 1 (of an empty tensor, where nothing is divided) counts as 1.
  Divisor(std::int64_t by, std::int64_t limit) : divisor(std::max<std::int64_t>(by, 1)) {
    constexpr std::int64_t kSmall = std::int64_t{1} << 31;
    small = limit <= kSmall && divisor <= kSmall;
    __extension__ using Wide = unsigned __int128;
    while ((Wide{1} << shift) < static_cast<Wide>(divisor)) ++shift;
    const Wide above = (Wide{1} << shift) - static_cast<Wide>(divisor);
    magic = static_cast<std::uint64_t>((above << (small ? 32 : 64)) / static_cast<Wide>(divisor) + 1);
  }
  __device__ std::int64_t quotient(std::int64_t n) const {
    if (!small) {
      const auto word = static_cast<std::uint64_t>(n);
      return static_cast<std::int64_t>((__umul64hi(word, magic) + word) >> shift);
    }
    const auto word = static_cast<std::uint32_t>(n);
    return (__umulhi(word, static_cast<std::uint32_t>(magic)) + word) >> shift;
  }
  // The same without the choice. REQUIRES: limit and divisor are at most 2^31.
  __device__ std::int32_t small_quotient(std::int32_t n) const {
    const auto word = static_cast<std::uint32_t>(n);
    return static_cast<std::int32_t>((__umulhi(word, static_cast<std::uint32_t>(magic)) + word) >> shift);
  }
  __device__ std::int64_t remainder(std::int64_t n) const { return n - quotient(n) * divisor; }
};

// ---- Loads and stores ----------------------------------------------------------------------------

// Bytes that are loaded and stored at once of N neighbours.
template <typename T, int N>
inline constexpr std::size_t kAccess = sizeof(T) * N < 16 ? sizeof(T) * N : 16;

inline bool is_aligned(const void* address, std::size_t bytes) {
  return reinterpret_cast<std::uintptr_t>(address) % bytes == 0;
}

// REQUIRES: the address is a multiple of kAccess<T, N>.
template <typename T, int N>
__device__ inline void load_pack(const T* from, T (&to)[N]) {
  constexpr int kEach = static_cast<int>(kAccess<T, N> / sizeof(T));
#pragma unroll
  for (int first = 0; first < N; first += kEach) {
    const auto pack = *reinterpret_cast<const Pack<T, kEach>*>(from + first);
#pragma unroll
    for (int k = 0; k < kEach; ++k) to[first + k] = pack.element[k];
  }
}
template <typename T, int N>
__device__ inline void store_pack(T* to, const T (&from)[N]) {
  constexpr int kEach = static_cast<int>(kAccess<T, N> / sizeof(T));
#pragma unroll
  for (int first = 0; first < N; first += kEach) {
    Pack<T, kEach> pack;
#pragma unroll
    for (int k = 0; k < kEach; ++k) pack.element[k] = from[first + k];
    *reinterpret_cast<Pack<T, kEach>*>(to + first) = pack;
  }
}

// The first n of N neighbours, then zeros. `wide`: load_pack may be used.
template <typename T, int N>
__device__ inline void load_elements(const T* from, int n, bool wide, T (&to)[N]) {
  if (wide && n == N) return load_pack(from, to);
#pragma unroll
  for (int k = 0; k < N; ++k) to[k] = k < n ? from[k] : T{};
}
template <typename T, int N>
__device__ inline void store_elements(T* to, int n, bool wide, const T (&from)[N]) {
  if (wide && n == N) return store_pack(to, from);
#pragma unroll
  for (int k = 0; k < N; ++k) {
    if (k < n) to[k] = from[k];
  }
}

// Stores N neighbours, the elements of `to` from i on, i a multiple of N. `wide`: `to` is a multiple of kAccess<T, N>. A pack is
// found by its number: from an address that is put together of elements the compiler does not see the alignment, and stores
// element by element, with which a warp writes each of its sectors several times.
template <typename T, int N>
__device__ inline void store_pack_at(T* to, std::int64_t i, bool wide, const T (&from)[N]) {
  if (!wide) return store_elements(to + i, N, false, from);
  constexpr int kEach = static_cast<int>(kAccess<T, N> / sizeof(T));
  auto* const packs = reinterpret_cast<Pack<T, kEach>*>(to) + static_cast<std::uint64_t>(i) / kEach;
#pragma unroll
  for (int first = 0; first < N; first += kEach) {
    Pack<T, kEach> pack;
#pragma unroll
    for (int k = 0; k < kEach; ++k) pack.element[k] = from[first + k];
    packs[first / kEach] = pack;
  }
}

// N neighbours as they lie in memory, in whole registers. An element is taken out where it is used, so a load under a condition
// is not waited for under it, and bf16 take half the registers.
template <typename T, int N>
struct Neighbours {
  std::uint32_t word[(sizeof(T) * N + 3) / 4];

  // REQUIRES: the address is a multiple of kAccess<T, N>.
  __device__ void load(const T* from) {
    if constexpr (sizeof(T) * N >= 4) {
      load_pack(reinterpret_cast<const std::uint32_t*>(from), word);
    } else {
      load(from, N, false);
    }
  }
  // The first n of N, then zeros. `wide`: load(from) may be used.
  __device__ void load(const T* from, int n, bool wide) {
    if constexpr (sizeof(T) * N >= 4) {
      if (wide && n == N) return load(from);
    }
#pragma unroll
    for (std::uint32_t& w : word) w = 0;
#pragma unroll
    for (int k = 0; k < N; ++k) {
      if (k < n) word[k / kPerWord] |= bits(from[k]) << kBits * (k % kPerWord);
    }
  }
  __device__ T operator[](int k) const {
    const std::uint32_t bits = word[k / kPerWord] >> kBits * (k % kPerWord);
    if constexpr (std::is_same_v<T, float>) {
      return __uint_as_float(bits);
    } else if constexpr (std::is_same_v<T, BFloat16>) {
      T out;
      out.bits = static_cast<std::uint16_t>(bits);
      return out;
    } else {
      return static_cast<T>(bits);
    }
  }
  // The same as a float, of f32 and bf16. Either half of a word is one instruction away from the float that it begins.
  __device__ float number(int k) const {
    if constexpr (std::is_same_v<T, float>) {
      return __uint_as_float(word[k]);
    } else {
      static_assert(std::is_same_v<T, BFloat16>);
      const std::uint32_t pair = word[k / 2];
      return __uint_as_float(k % 2 == 0 ? pair << 16 : pair & 0xffff0000u);
    }
  }

 private:
  static constexpr int kPerWord = static_cast<int>(4 / sizeof(T)), kBits = static_cast<int>(8 * sizeof(T));
  static __device__ std::uint32_t bits(float value) { return __float_as_uint(value); }
  static __device__ std::uint32_t bits(BFloat16 value) { return value.bits; }
  static __device__ std::uint32_t bits(std::uint8_t value) { return value; }
};

__device__ inline float to_float(std::int32_t value) { return static_cast<float>(value); }
__device__ inline float to_float(std::uint8_t value) { return static_cast<float>(value); }

// ---- Operands ------------------------------------------------------------------------------------

// The members that launch_elementwise and its kernel ask for:
//   Element              the type in memory
//   kSize                its size, where it counts for how many neighbours a thread works on
//   prepare<N>()         on the host, before the launch
//   wide                 load_pack is possible wherever the kernel loads N elements
//   load<kFast>(i, n, to)  the elements i, ..., i + n - 1, n <= N, and zeros; i is a multiple of N. kFast: n == N, and `wide`
//                        is known to be true.

template <typename T>
struct Full {
  using Element = T;
  static constexpr std::size_t kSize = sizeof(T);
  const T* x = nullptr;
  bool wide = false;

  template <int N>
  void prepare() {
    wide = is_aligned(x, kAccess<T, N>);
  }
  template <bool kFast, int N>
  __device__ void load(std::int64_t i, int n, T (&to)[N]) const {
    if constexpr (kFast) {
      load_pack(x + i, to);
    } else {
      load_elements(x + i, n, wide, to);
    }
  }
};

// Element i is x[i / inner % period]: each element `inner` times in a row, the whole of them again and again. One number
// has period 1, a vector along the last axis inner 1. Made without memory where the kernel is made.
template <typename T>
struct Repeated {
  using Element = T;
  static constexpr std::size_t kSize = 1;  // it stays in the first cache
  enum class Access { kOne, kWide, kEach };  // N neighbours are one element; lie side by side and aligned; anything

  const T* x = nullptr;
  Divisor inner, period;
  Access access = Access::kEach;
  static constexpr bool wide = true;

  Repeated of(const T* memory) const {
    Repeated out = *this;
    out.x = memory;
    return out;
  }
  template <int N>
  void prepare() {
    if (period.divisor == 1 || inner.divisor % N == 0) {
      access = Access::kOne;
    } else if (inner.divisor == 1 && period.divisor % N == 0 && is_aligned(x, kAccess<T, N>)) {
      access = Access::kWide;
    } else {
      access = Access::kEach;
    }
  }
  __device__ std::int64_t place(std::int64_t i) const {
    if (period.divisor == 1) return 0;
    return period.remainder(inner.divisor == 1 ? i : inner.quotient(i));
  }
  template <bool kFast, int N>
  __device__ void load(std::int64_t i, int n, T (&to)[N]) const {
    if (access == Access::kOne) {
      const T value = x[place(i)];
#pragma unroll
      for (int k = 0; k < N; ++k) to[k] = value;
    } else if (access == Access::kWide) {
      load_pack(x + place(i), to);
    } else {
#pragma unroll
      for (int k = 0; k < N; ++k) to[k] = kFast || k < n ? x[place(i + k)] : T{};
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
  template <bool kFast>
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

  template <bool kFast>
  __device__ void load(std::int64_t i, int n, const First& first, const Rest&... others) {
    first.template load<kFast>(i, n, element);
    rest.template load<kFast>(i, n, others...);
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

// The packs of a thread, from element `first` on: whole ones in aligned memory.
template <int N, typename Y, typename Function, typename... Operands>
__device__ inline void run_fast(std::int64_t first, Y* y, const Function& f, const Operands&... operands) {
  Loaded<N, Operands...> loaded[kPacks];
#pragma unroll
  for (int p = 0; p < kPacks; ++p) loaded[p].template load<true>(first + p * kThreads * N, N, operands...);
#pragma unroll
  for (int p = 0; p < kPacks; ++p) {
    Y out[N];
#pragma unroll
    for (int k = 0; k < N; ++k) out[k] = converted<Y>(loaded[p].apply(f, k));
    store_pack(y + first + p * kThreads * N, out);
  }
}

// The same where memory is not aligned, or ends.
template <int N, typename Y, typename Function, typename... Operands>
__device__ inline void run_slow(std::int64_t first, std::int64_t count, Y* y, bool wide, const Function& f,
                                const Operands&... operands) {
#pragma unroll 1
  for (int p = 0; p < kPacks; ++p) {
    const std::int64_t i = first + p * kThreads * N;
    if (i >= count) return;
    const int n = count - i < N ? static_cast<int>(count - i) : N;
    Loaded<N, Operands...> loaded;
    loaded.template load<false>(i, n, operands...);
    Y out[N];
#pragma unroll
    for (int k = 0; k < N; ++k) out[k] = converted<Y>(loaded.apply(f, k));
    store_elements(y + i, n, wide, out);
  }
}

// `fast`: y and all operands are wide. `wide`: y is.
template <int N, typename Y, typename Function, typename... Operands>
__global__ void __launch_bounds__(kThreads)
    run(std::int64_t count, Y* y, bool fast, bool wide, Function f, Operands... operands) {
  constexpr int kTile = kPacks * kThreads * N;
  const std::int64_t tile = static_cast<std::int64_t>(blockIdx.x) * kTile, first = tile + threadIdx.x * N;
  if (fast && tile + kTile <= count) {
    run_fast<N>(first, y, f, operands...);
  } else {
    run_slow<N>(first, count, y, wide, f, operands...);
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
// or a Y. f of zeros may be computed beyond the last element, and is thrown away.
template <typename Y, typename Function, typename... Operands>
void launch_elementwise(const Launch& on, std::int64_t count, Y* y, const Function& f, Operands... operands) {
  constexpr int N = elementwise::neighbours<sizeof(Y), Operands::kSize...>();
  (operands.template prepare<N>(), ...);
  const bool wide = is_aligned(y, kAccess<Y, N>), fast = (wide && ... && operands.wide);
  launch(on, blocks_for(count, std::int64_t{kThreads} * elementwise::kPacks * N), kThreads,
         elementwise::run<N, Y, Function, Operands...>, count, y, fast, wide, f, operands...);
}

}  // namespace lockstep
