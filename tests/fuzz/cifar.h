// The binary files of CIFAR-10 and CIFAR-100, as they are and cut to whole records.
#pragma once

#include "tests/fuzz/import.h"

namespace lockstep::fuzz {

inline void fuzz_cifar(const std::string& path) {
  const std::string bytes = read_file(path), records = path + ".records";
  const std::pair<const char*, std::size_t> kinds[] = {{"cifar10", 3073}, {"cifar100", 3074}};
  for (const auto& [format, record_bytes] : kinds) {
    import_or_refuse(path, format);
    write_file(records,
               std::string_view(bytes).substr(0, bytes.size() / record_bytes * record_bytes));
    import_or_refuse(records, format);
  }
}

}  // namespace lockstep::fuzz
