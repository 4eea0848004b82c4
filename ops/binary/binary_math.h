// The binary functions on single floats, for this room's kernels and for fused ones.
#pragma once

#include "core/base/error.h"
#include "ops/binary/binary.h"

namespace lockstep::binary_math {

struct Add {
  [[gnu::always_inline]] float operator()(float a, float b) const { return a + b; }
};
struct Subtract {
  [[gnu::always_inline]] float operator()(float a, float b) const { return a - b; }
};
struct Multiply {
  [[gnu::always_inline]] float operator()(float a, float b) const { return a * b; }
};
struct Divide {
  [[gnu::always_inline]] float operator()(float a, float b) const { return a / b; }
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

}  // namespace lockstep::binary_math
