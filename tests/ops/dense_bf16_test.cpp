// bf16 products need a processor with AVX-512: label cpu-bf16.
#include <gtest/gtest.h>

#include "tests/ops/dense_cases.h"

namespace lockstep::testing {
namespace {

TEST(DenseBf16, AgreesWithNaiveLoops) {
  for (OpCase c : dense_cases()) {
    c.bf16 = true;
    check_op(c);
  }
}

}  // namespace
}  // namespace lockstep::testing
