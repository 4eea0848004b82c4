// What `lockstep data verify` looks at: whether every sample of a dataset can be read and makes sense.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace lockstep {

struct VerifyOptions {
  std::string target;        // array of labels that are checked; empty: none
  std::int64_t classes = 0;  // labels are in [0, classes); 0: as many as the array has names for, or any
  // Told now and then which part of the bytes was read, in [0, 1]; may be empty.
  std::function<void(double)> progress = {};
};

struct VerifyReport {
  // One line each: file, array, rows, what is wrong. At most kMostProblems; `more` counts the rest.
  static constexpr std::size_t kMostProblems = 20;
  std::vector<std::string> problems;
  std::int64_t more = 0;

  std::int64_t samples = 0;    // of shards that can be read
  std::uint64_t bytes = 0;     // that were read
  std::int64_t checksums = 0;  // arrays whose checksum was compared
  std::string fingerprint;     // of the values in hex; empty where something could not be read
  bool good() const { return problems.empty(); }
};

// Looks at all arrays of all shards: whether files are there and are HDF5, lengths and types agree, every chunk can be read, the
// checksum that the importer wrote ("xxh3") is that of the values, numbers are finite, labels in range. Goes on after a
// problem. Reads everything once, block by block. Throws bad_input where `source` names no files, or there is no target.
VerifyReport verify_dataset(const std::string& source, const VerifyOptions& options = {});

}  // namespace lockstep
