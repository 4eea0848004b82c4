// Delimited text, with the options that lead to different code.
#pragma once

#include "tests/fuzz/import.h"

namespace lockstep::fuzz {

inline void fuzz_csv(const std::string& path) {
  import_or_refuse(path, "csv", {{"label", "-1"}});
  import_or_refuse(
      path, "csv",
      {{"label", "none"}, {"header", "yes"}, {"missing", "mean"}, {"skip-lines", "1"}});
  import_or_refuse(path, "csv", {{"label", "0"}, {"regression", ""}, {"dtype", "i16"}});
}

}  // namespace lockstep::fuzz
