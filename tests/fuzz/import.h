// Reads all samples of a file through an importer.
#pragma once

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "datasets/convert.h"
#include "datasets/import/format.h"
#include "tests/fuzz/target.h"

namespace lockstep::fuzz {

using Given = std::map<std::string, std::string>;

// An input has at most 64 KiB, which gzip makes of a thousand times as much.
constexpr std::size_t kMostBytes = std::size_t{128} << 20;

inline void check_attributes(const SourceArray& array) {
  for (const auto& [name, value] : array.attributes) {
    const auto* list = std::get_if<std::vector<std::string>>(&value);
    if (list == nullptr) continue;
    expect(!list->empty(), name + " is an empty list");
    if (name != "feature_names") continue;
    const Shape& shape = array.sample;
    expect(shape.rank() > 0 && shape[shape.rank() - 1] == static_cast<std::int64_t>(list->size()),
           "feature_names does not fit the samples");
  }
}

inline void read_all(SampleSource& source) {
  constexpr std::size_t kBlock = std::size_t{1} << 16;
  expect(source.size() > 0 && !source.arrays().empty(), "a source without samples");
  std::set<std::string> names;
  for (std::size_t a = 0; a < source.arrays().size(); ++a) {
    const SourceArray& array = source.arrays()[a];
    expect(!array.name.empty() && names.insert(array.name).second, "a name that is no name");
    check_attributes(array);
    const std::size_t row = array.row_bytes();
    expect(row > 0 && row <= kMostBytes / static_cast<std::size_t>(source.size()),
           "array " + array.name + " is larger than its file");
    const auto step = static_cast<std::int64_t>(std::max<std::size_t>(1, kBlock / row));
    for (std::int64_t begin = 0; begin < source.size(); begin += step) {
      const std::int64_t end = std::min(begin + step, source.size());
      // Of exactly that size, so that a byte written behind it is seen.
      const auto bytes = std::make_unique<std::byte[]>(static_cast<std::size_t>(end - begin) * row);
      source.read(a, {begin, end}, bytes.get());
    }
  }
}

inline std::unique_ptr<SampleSource> open_file(const std::string& path, const std::string& format,
                                               Given given = {}) {
  const std::string folder = std::filesystem::path(path).parent_path().string();
  return open_source(format, {{path}, FormatOptions(std::move(given)), folder});
}

inline void import_or_refuse(const std::string& path, const std::string& format, Given given = {}) {
  read_or_refuse(path, [&] { read_all(*open_file(path, format, std::move(given))); });
}

}  // namespace lockstep::fuzz
