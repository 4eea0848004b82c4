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

TEST(DenseBf16, GradientsOfWeightsAndBias) {
  for (OpCase c : bias_gradient_cases()) {
    c.bf16 = true;
    check_op(c);
  }
}

TEST(DenseBf16, LargeProducts) {
  for (OpCase c : {dense_case({8, 600}, 200, true), dense_case({192, 520}, 704, true, Activation{ActivationKind::kRelu}),
                   dense_case({130, 66}, 64, false, Activation{ActivationKind::kRelu}), dense_case({70, 64}, 1000, true),
                   dense_case({130, 64}, 128, true, Activation{ActivationKind::kGeluApproximate}),
                   dense_case({130, 64}, 70, false, Activation{ActivationKind::kGeluApproximate})}) {
    c.bf16 = true;
    c.gradient = false;
    check_op(c);
  }
}

}  // namespace
}  // namespace lockstep::testing
