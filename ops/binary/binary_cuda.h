// The binary functions on single floats for CUDA kernels. Intrinsics, so that no compiler makes one rounding of a product
// and a sum that are two ops: a function has the same bits in every kernel.
#pragma once

#include "core/base/error.h"
#include "core/kernel/cuda_kernel.h"
#include "ops/binary/binary.h"

namespace lockstep::cuda_binary {

struct Add {
  __device__ float operator()(float a, float b) const { return __fadd_rn(a, b); }
};
struct Subtract {
  __device__ float operator()(float a, float b) const { return __fsub_rn(a, b); }
};
struct Multiply {
  __device__ float operator()(float a, float b) const { return __fmul_rn(a, b); }
};
struct Divide {
  __device__ float operator()(float a, float b) const { return a / b; }
};
struct Scale {
  float factor;
  __device__ float operator()(float x) const { return __fmul_rn(factor, x); }
};

// Calls body(function) with the struct above that `kind` names.
template <typename Body>
auto with_function(BinaryKind kind, const Body& body) {
  switch (kind) {
    case BinaryKind::kAdd:
      return body(Add{});
    case BinaryKind::kSubtract:
      return body(Subtract{});
    case BinaryKind::kMultiply:
      return body(Multiply{});
    case BinaryKind::kDivide:
      return body(Divide{});
  }
  broken_invariant("a binary op of no known kind");
}

}  // namespace lockstep::cuda_binary
