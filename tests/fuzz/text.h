// Plain text as characters, bytes and pairs; what was cut into tokens can be put together again.
#pragma once

#include <cstring>

#include "datasets/import/input_file.h"
#include "datasets/import/tokenizer.h"
#include "tests/fuzz/import.h"

namespace lockstep::fuzz {

// The tokens of a source of text put together.
inline std::string decoded(SampleSource& source) {
  const SourceArray& array = source.arrays().at(0);
  std::string kept;
  for (const auto& [name, value] : array.attributes) {
    if (name == "tokenizer") kept = std::get<std::string>(value);
  }
  const std::size_t width = array.row_bytes();
  std::vector<std::byte> bytes(static_cast<std::size_t>(source.size()) * width);
  source.read(0, {0, source.size()}, bytes.data());
  std::vector<std::int32_t> tokens(static_cast<std::size_t>(source.size()), 0);
  for (std::size_t i = 0; i < tokens.size(); ++i)
    std::memcpy(&tokens[i], bytes.data() + i * width, width);
  return Tokenizer::parse("kept", kept).decode(tokens);
}

inline void check_round_trip(const std::string& path, const Given& given) {
  read_or_refuse(path, [&] {
    const std::string folder = std::filesystem::path(path).parent_path().string();
    const auto source = open_file(path, "text", given);
    read_all(*source);
    const std::string content = InputFile(path, folder).content(kMostBytes);
    expect(decoded(*source) == content, "the tokens are not the text");
  });
}

inline void fuzz_text(const std::string& path) {
  check_round_trip(path, {});
  check_round_trip(path, {{"tokens", "bytes"}});
  check_round_trip(path, {{"vocabulary", "300"}});
}

}  // namespace lockstep::fuzz
