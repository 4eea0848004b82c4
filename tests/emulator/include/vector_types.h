// CUDA's types of few elements, with its alignments.
#pragma once

#include <cstdint>

#define LOCKSTEP_VECTORS(name, element, align1, align2, align4)                                        \
  struct alignas(align1) name##1 { element x; };                                                       \
  struct alignas(align2) name##2 { element x, y; };                                                    \
  struct alignas(align1) name##3 { element x, y, z; };                                                 \
  struct alignas(align4) name##4 { element x, y, z, w; };                                              \
  inline name##1 make_##name##1(element x) { return {x}; }                                             \
  inline name##2 make_##name##2(element x, element y) { return {x, y}; }                               \
  inline name##3 make_##name##3(element x, element y, element z) { return {x, y, z}; }                 \
  inline name##4 make_##name##4(element x, element y, element z, element w) { return {x, y, z, w}; }

LOCKSTEP_VECTORS(char, signed char, 1, 2, 4)
LOCKSTEP_VECTORS(uchar, unsigned char, 1, 2, 4)
LOCKSTEP_VECTORS(short, short, 2, 4, 8)
LOCKSTEP_VECTORS(ushort, unsigned short, 2, 4, 8)
LOCKSTEP_VECTORS(int, int, 4, 8, 16)
LOCKSTEP_VECTORS(uint, unsigned, 4, 8, 16)
LOCKSTEP_VECTORS(longlong, long long, 8, 16, 16)
LOCKSTEP_VECTORS(ulonglong, unsigned long long, 8, 16, 16)
LOCKSTEP_VECTORS(float, float, 4, 8, 16)
LOCKSTEP_VECTORS(double, double, 8, 16, 16)
#undef LOCKSTEP_VECTORS

struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
  constexpr dim3(uint3 v) : x(v.x), y(v.y), z(v.z) {}
  constexpr operator uint3() const { return {x, y, z}; }
};

// Of the thread of a kernel that runs; one does at a time (grid.h).
extern constinit uint3 threadIdx;
extern constinit uint3 blockIdx;
extern constinit dim3 blockDim;
extern constinit dim3 gridDim;
inline constexpr int warpSize = 32;
