// An archive of arrays of NumPy: all of them, and one that is chosen.
#pragma once

#include "tests/fuzz/import.h"

namespace lockstep::fuzz {

inline void fuzz_npz(const std::string& path) {
  import_or_refuse(path, "npz");
  import_or_refuse(path, "npz", {{"x", "arr_0"}});
}

}  // namespace lockstep::fuzz
