// What a call that must fail says.
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "core/base/error.h"

namespace lockstep {

// The message of the bad_input that `call` throws; fails the test where it throws none.
template <typename Call>
std::string refused(const Call& call) {
  try {
    call();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kBadInput) << error.what();
    EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "nothing was refused";
  return "";
}

}  // namespace lockstep
