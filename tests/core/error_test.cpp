#include "core/base/error.h"

#include <gtest/gtest.h>

namespace lockstep {
namespace {

// Whatever a file holds, a message that quotes it is one line and does nothing to a terminal.
TEST(Error, MessagesAreOneLine) {
  const Error error(ErrorKind::kBadInput, "x.csv: found \"a\nb\tc\x1b[2J\r\x7f\"");
  EXPECT_STREQ(error.what(), "x.csv: found \"a\\nb\\tc\\x1b[2J\\x0d\\x7f\"");
  EXPECT_STREQ(Error(error.kind(), error.what()).what(), error.what());
}

TEST(Error, OtherCharactersStay) {
  const std::string message =
      "gr\xc3\xb6\xc3\x9f"
      "e \\ ' \" ~";
  EXPECT_EQ(Error(ErrorKind::kInvariant, message).what(), message);
}

}  // namespace
}  // namespace lockstep
