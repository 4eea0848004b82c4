// One array of NumPy.
#pragma once

#include "tests/fuzz/import.h"

namespace lockstep::fuzz {

inline void fuzz_npy(const std::string& path) {
  import_or_refuse(path, "npy");
}

}  // namespace lockstep::fuzz
