// An IDX file, as images and as labels.
#pragma once

#include "tests/fuzz/import.h"

namespace lockstep::fuzz {

inline void fuzz_idx(const std::string& path) {
  import_or_refuse(path, "idx", {{"labels", "none"}});
  // Three images for it.
  const std::string images = path + ".images";
  write_file(images, std::string("\0\0\x08\x03\0\0\0\x03\0\0\0\x01\0\0\0\x01"
                                 "abc",
                                 19));
  read_or_refuse(path, [&] { read_all(*open_file(images, "idx", {{"labels", path}})); });
}

}  // namespace lockstep::fuzz
