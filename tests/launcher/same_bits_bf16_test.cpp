#include "tests/launcher/same_bits.h"

namespace lockstep::testing {
namespace {

TEST_P(SameBits, ThreeHundredStepsInBf16) { expect("bf16"); }

INSTANTIATE_TEST_SUITE_P(Models, SameBits, ::testing::ValuesIn(kCases),
                         [](const auto& about) { return std::string(about.param.name); });

}  // namespace
}  // namespace lockstep::testing
