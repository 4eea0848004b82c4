#include <gtest/gtest.h>

#include "tests/ops/conv2d_cases.h"

namespace lockstep::testing {
namespace {

TEST(Conv2dBf16, AgreesWithNaiveLoops) {
  auto cases = convolution_cases(true);
  for (OpCase& c : cases) c.bf16 = true;
  check_ops(cases);
}

}  // namespace
}  // namespace lockstep::testing
