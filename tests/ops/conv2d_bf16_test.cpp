#include <gtest/gtest.h>

#include "tests/ops/conv2d_cases.h"

namespace lockstep::testing {
namespace {

TEST(Conv2dBf16, AgreesWithNaiveLoops) {
  for (const bool with_bias : {true, false}) {
    auto cases = convolution_cases(with_bias);
    for (OpCase& c : cases) c.bf16 = true;
    check_ops(cases);
  }
}

}  // namespace
}  // namespace lockstep::testing
