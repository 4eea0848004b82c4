// A file whose format is found from its content.
#pragma once

#include "tests/fuzz/import.h"

namespace lockstep::fuzz {

inline void fuzz_recognise(const std::string& path) {
  read_or_refuse(path, [&] {
    try {
      read_all(*open_file(path, "auto"));
    } catch (const Error& error) {
      // A table needs an option that the other formats do not have.
      if (!std::string_view(error.what()).starts_with("--label is missing")) throw;
    }
  });
}

}  // namespace lockstep::fuzz
