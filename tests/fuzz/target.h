// What the fuzz targets share. A target reads one file as the program would, and everything that it
// may not do ends in an exception that is no Error, or in a signal: then the input is a finding.
//
//   clang's libFuzzer finds inputs     cmake --preset fuzz, cmake --build --preset fuzz, then
//                                      build/fuzz/fuzz/fuzz_csv FOLDER tests/fuzz/corpus/csv
//   fuzz_replay_test replays           the inputs kept in tests/fuzz/corpus/<target>, and
//                                      mutations of them that are the same each time
//
// A target is a header here, one line in tests/fuzz/targets.h and its folder in tests/fuzz/corpus.
#pragma once

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>
#include <string_view>

#include "core/base/error.h"

namespace lockstep::fuzz {

// Reads the file at `path`, in a folder where it may write others.
using Target = void (*)(const std::string& path);

inline void expect(bool ok, const std::string& what) {
  if (!ok) throw std::logic_error(what);
}

// A file may be refused: as bad input, in one line that begins with its name.
template <typename Action>
void read_or_refuse(const std::string& path, const Action& action) {
  try {
    action();
  } catch (const Error& error) {
    const std::string message = error.what();
    expect(error.kind() == ErrorKind::kBadInput, "not refused as bad input: " + message);
    expect(message.starts_with(path), "does not begin with the name: " + message);
    const bool printable = std::ranges::all_of(
        message, [](char c) { return static_cast<unsigned char>(c) >= 0x20 && c != 0x7f; });
    expect(printable, "is more than one line: " + message);
  }
}

// A new file: cutting an old one short makes some file systems wait for the disk.
inline void write_file(const std::string& path, std::string_view bytes) {
  std::filesystem::remove(path);
  std::ofstream out(path, std::ios::binary);
  out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  out.close();
  expect(out.good(), path + " cannot be written");
}

inline std::string read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

}  // namespace lockstep::fuzz
