// The part of CUDA that Lockstep's kernel files use, for the CPU (tests/emulator): the words of the language, what kernels
// may call, and the calls of the runtime that launch and copy. What is not here does not belong into a kernel file.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <source_location>
#include <type_traits>
#include <utility>

#include "tests/emulator/grid.h"

// ---- The language ------------------------------------------------------------------------------

#define __global__
#define __device__
#define __host__
#define __constant__ static
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __grid_constant__
#define __align__(n) __attribute__((aligned(n)))
// One block runs at a time.
#define __shared__ static

// ---- Barriers and collectives ------------------------------------------------------------------

inline void __syncthreads(std::source_location where = std::source_location::current()) {
  lockstep::emulator::barrier(where);
}
inline void __syncwarp(unsigned mask = 0xffffffffu, std::source_location where = std::source_location::current()) {
  lockstep::emulator::collective({lockstep::emulator::Collective::kSync, mask}, where);
}
inline void __threadfence() {}
inline void __threadfence_block() {}

namespace lockstep::emulator {

template <typename T>
concept Shuffled = std::is_arithmetic_v<T> && (sizeof(T) == 4 || sizeof(T) == 8);

template <Shuffled T>
T shuffle(unsigned mask, T value, unsigned source, const std::source_location& where) {
  std::uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof value);
  bits = collective({Collective::kShuffle, mask, bits, source}, where);
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

// The first lane of the part of the warp, of `width` lanes, that this lane is in.
inline unsigned part_of_warp(int width) { return lane() & ~static_cast<unsigned>(width - 1); }

}  // namespace lockstep::emulator

template <lockstep::emulator::Shuffled T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32,
              std::source_location where = std::source_location::current()) {
  const unsigned first = lockstep::emulator::part_of_warp(width);
  return lockstep::emulator::shuffle(mask, value, first + (static_cast<unsigned>(source) & static_cast<unsigned>(width - 1)),
                                     where);
}
template <lockstep::emulator::Shuffled T>
T __shfl_xor_sync(unsigned mask, T value, int lanes, int width = 32,
                  std::source_location where = std::source_location::current()) {
  const unsigned end = lockstep::emulator::part_of_warp(width) + static_cast<unsigned>(width);
  const unsigned source = lockstep::emulator::lane() ^ static_cast<unsigned>(lanes);
  return lockstep::emulator::shuffle(mask, value, source < end ? source : lockstep::emulator::lane(), where);
}
template <lockstep::emulator::Shuffled T>
T __shfl_down_sync(unsigned mask, T value, unsigned by, int width = 32,
                   std::source_location where = std::source_location::current()) {
  const unsigned end = lockstep::emulator::part_of_warp(width) + static_cast<unsigned>(width);
  const unsigned source = lockstep::emulator::lane() + by;
  return lockstep::emulator::shuffle(mask, value, source < end ? source : lockstep::emulator::lane(), where);
}
template <lockstep::emulator::Shuffled T>
T __shfl_up_sync(unsigned mask, T value, unsigned by, int width = 32,
                 std::source_location where = std::source_location::current()) {
  const unsigned here = lockstep::emulator::lane();
  const bool inside = here >= lockstep::emulator::part_of_warp(width) + by;
  return lockstep::emulator::shuffle(mask, value, inside ? here - by : here, where);
}

inline unsigned __ballot_sync(unsigned mask, int predicate,
                              std::source_location where = std::source_location::current()) {
  return static_cast<unsigned>(lockstep::emulator::collective(
      {lockstep::emulator::Collective::kBallot, mask, predicate != 0 ? 1u : 0u}, where));
}
inline int __any_sync(unsigned mask, int predicate, std::source_location where = std::source_location::current()) {
  return __ballot_sync(mask, predicate, where) != 0;
}
inline int __all_sync(unsigned mask, int predicate, std::source_location where = std::source_location::current()) {
  return __ballot_sync(mask, !predicate, where) == 0;
}

// ---- Memory ------------------------------------------------------------------------------------

template <typename T>
T __ldg(const T* from) { return *from; }
template <typename T>
T __ldcs(const T* from) { return *from; }
template <typename T>
T __ldcg(const T* from) { return *from; }
template <typename T>
T __ldlu(const T* from) { return *from; }
template <typename T>
void __stcs(T* to, T value) { *to = value; }
template <typename T>
void __stcg(T* to, T value) { *to = value; }
template <typename T>
void __stwt(T* to, T value) { *to = value; }

// Of integers alone: sums of floats would depend on the order of the blocks.
template <std::integral T>
T atomicAdd(T* to, std::type_identity_t<T> value) { return std::exchange(*to, static_cast<T>(*to + value)); }
template <std::integral T>
T atomicMax(T* to, std::type_identity_t<T> value) { return std::exchange(*to, std::max(*to, value)); }
template <std::integral T>
T atomicMin(T* to, std::type_identity_t<T> value) { return std::exchange(*to, std::min(*to, value)); }
template <std::integral T>
T atomicOr(T* to, std::type_identity_t<T> value) { return std::exchange(*to, static_cast<T>(*to | value)); }
template <std::integral T>
T atomicAnd(T* to, std::type_identity_t<T> value) { return std::exchange(*to, static_cast<T>(*to & value)); }
inline unsigned atomicInc(unsigned* to, unsigned limit) { return std::exchange(*to, *to >= limit ? 0 : *to + 1); }
template <std::integral T>
T atomicExch(T* to, std::type_identity_t<T> value) { return std::exchange(*to, value); }
template <std::integral T>
T atomicCAS(T* to, std::type_identity_t<T> compare, std::type_identity_t<T> value) {
  return std::exchange(*to, *to == compare ? value : *to);
}

// ---- Bits and integers -------------------------------------------------------------------------

inline unsigned __float_as_uint(float value) { return std::bit_cast<unsigned>(value); }
inline float __uint_as_float(unsigned bits) { return std::bit_cast<float>(bits); }
inline int __float_as_int(float value) { return std::bit_cast<int>(value); }
inline float __int_as_float(int bits) { return std::bit_cast<float>(bits); }
inline long long __double_as_longlong(double value) { return std::bit_cast<long long>(value); }
inline double __longlong_as_double(long long bits) { return std::bit_cast<double>(bits); }

inline int __clz(int value) { return std::countl_zero(static_cast<unsigned>(value)); }
inline int __clzll(long long value) { return std::countl_zero(static_cast<unsigned long long>(value)); }
inline int __popc(unsigned value) { return std::popcount(value); }
inline int __popcll(unsigned long long value) { return std::popcount(value); }
inline int __ffs(int value) { return __builtin_ffs(value); }
inline int __ffsll(long long value) { return __builtin_ffsll(value); }
inline unsigned __brev(unsigned value) {
  unsigned out = 0;
  for (int i = 0; i < 32; ++i) out |= (value >> i & 1u) << (31 - i);
  return out;
}
inline unsigned __umulhi(unsigned a, unsigned b) { return static_cast<unsigned>(std::uint64_t{a} * b >> 32); }
inline int __mulhi(int a, int b) { return static_cast<int>(std::int64_t{a} * b >> 32); }
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
  __extension__ using Wide = unsigned __int128;
  return static_cast<unsigned long long>(static_cast<Wide>(a) * b >> 64);
}
inline unsigned __umul24(unsigned a, unsigned b) { return (a & 0xffffffu) * (b & 0xffffffu); }
// Byte i of the result is byte (selector >> 4 i) & 7 of b:a.
inline unsigned __byte_perm(unsigned a, unsigned b, unsigned selector) {
  const std::uint64_t both = std::uint64_t{b} << 32 | a;
  unsigned out = 0;
  for (int i = 0; i < 4; ++i) out |= static_cast<unsigned>(both >> 8 * (selector >> 4 * i & 7) & 0xff) << 8 * i;
  return out;
}
inline unsigned __funnelshift_l(unsigned low, unsigned high, unsigned by) {
  return static_cast<unsigned>(((std::uint64_t{high} << 32 | low) << (by & 31)) >> 32);
}
inline unsigned __funnelshift_r(unsigned low, unsigned high, unsigned by) {
  return static_cast<unsigned>((std::uint64_t{high} << 32 | low) >> (by & 31));
}

// ---- Mathematics (what <cmath> has comes from there) ----------------------------------------------

using std::max;
using std::min;
inline float max(float a, float b) { return fmaxf(a, b); }
inline float min(float a, float b) { return fminf(a, b); }
inline double max(double a, double b) { return fmax(a, b); }
inline double min(double a, double b) { return fmin(a, b); }

inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }
inline double rsqrt(double x) { return 1.0 / std::sqrt(x); }
inline float normcdff(float x) { return 0.5f * erfcf(-x * 0.70710678f); }
inline float exp10f(float x, int = 0) { return std::pow(10.0f, x); }
inline float __expf(float x) { return std::exp(x); }
inline float __exp10f(float x) { return std::pow(10.0f, x); }
inline float __logf(float x) { return std::log(x); }
inline float __log2f(float x) { return std::log2(x); }
inline float __powf(float x, float y) { return std::pow(x, y); }
inline float __sinf(float x) { return std::sin(x); }
inline float __cosf(float x) { return std::cos(x); }
inline float __fdividef(float x, float y) { return x / y; }
inline float __saturatef(float x) { return x > 0 ? (x < 1 ? x : 1.0f) : 0.0f; }  // NaN becomes 0
inline float __frcp_rn(float x) { return 1.0f / x; }
inline float __fsqrt_rn(float x) { return std::sqrt(x); }
inline float __frsqrt_rn(float x) { return static_cast<float>(1.0 / std::sqrt(static_cast<double>(x))); }
inline float __fdiv_rn(float x, float y) { return x / y; }
inline float __fmaf_rn(float x, float y, float z) { return std::fma(x, y, z); }
// These are never contracted with a neighbour to a fused multiply-add.
inline float __fadd_rn(float x, float y) {
  volatile float out = x + y;
  return out;
}
inline float __fsub_rn(float x, float y) {
  volatile float out = x - y;
  return out;
}
inline float __fmul_rn(float x, float y) {
  volatile float out = x * y;
  return out;
}
inline int __float2int_rn(float x) { return static_cast<int>(std::nearbyint(x)); }
inline int __float2int_rz(float x) { return static_cast<int>(x); }
inline int __float2int_rd(float x) { return static_cast<int>(std::floor(x)); }
inline int __float2int_ru(float x) { return static_cast<int>(std::ceil(x)); }
inline float __int2float_rn(int x) { return static_cast<float>(x); }
inline float __uint2float_rn(unsigned x) { return static_cast<float>(x); }
inline float __double2float_rn(double x) { return static_cast<float>(x); }

// ---- The runtime -------------------------------------------------------------------------------

enum cudaError_t {
  cudaSuccess = 0,
  cudaErrorInvalidValue = 1,
  cudaErrorInvalidConfiguration = 9,
  cudaErrorInvalidResourceHandle = 400,
  cudaErrorStreamCaptureIsolation = 905,
};
const char* cudaGetErrorString(cudaError_t code);
const char* cudaGetErrorName(cudaError_t code);
inline cudaError_t cudaGetLastError() { return cudaSuccess; }
inline cudaError_t cudaPeekAtLastError() { return cudaSuccess; }

using cudaStream_t = struct CUstream_st*;
enum cudaMemcpyKind {
  cudaMemcpyHostToHost,
  cudaMemcpyHostToDevice,
  cudaMemcpyDeviceToHost,
  cudaMemcpyDeviceToDevice,
  cudaMemcpyDefault
};
struct cudaLaunchAttribute;
struct cudaLaunchConfig_t {
  dim3 gridDim, blockDim;
  std::size_t dynamicSmemBytes = 0;
  cudaStream_t stream = nullptr;
  cudaLaunchAttribute* attrs = nullptr;
  unsigned numAttrs = 0;
};

cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind, cudaStream_t stream);
cudaError_t cudaMemsetAsync(void* to, int value, std::size_t bytes, cudaStream_t stream);

namespace lockstep::emulator {
// Queues the threads of a grid; `thread` is called once for each.
cudaError_t queue_kernel(const cudaLaunchConfig_t& config, std::function<void()> thread);

// Throws broken_invariant where one of these words is the address of memory of the host.
void check_words(const void* words, std::size_t bytes);

// The same of an argument of a kernel and its members.
template <typename T>
void check_argument(T argument) {
  __builtin_clear_padding(&argument);
  check_words(&argument, sizeof argument);
}
}  // namespace lockstep::emulator

template <typename... Parameters, typename... Arguments>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(Parameters...), Arguments&&... arguments) {
  static_assert((std::is_trivially_copyable_v<Parameters> && ...), "arguments of a kernel are copied byte by byte");
  (lockstep::emulator::check_argument<Parameters>(arguments), ...);
  return lockstep::emulator::queue_kernel(
      *config, [kernel, ... values = static_cast<Parameters>(arguments)] { kernel(values...); });
}
