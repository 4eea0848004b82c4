// Sources of samples in tests: opened, read and refused.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/base/file.h"
#include "datasets/convert.h"
#include "datasets/import/format.h"
#include "tests/datasets/shards.h"

namespace lockstep {

using Given = std::map<std::string, std::string>;

inline std::string fixture(const std::string& name) {
  return std::string(LOCKSTEP_SOURCE_DIR) + "/tests/fixtures/import/" + name;
}

class ImportTest : public testing::Test {
 protected:
  std::string path(const std::string& name) const { return directory_.path(name); }

  // Writes a file and returns its path.
  std::string file(const std::string& name, const std::string& content) const {
    local_files().write_atomic(path(name), content);
    return path(name);
  }

  std::unique_ptr<SampleSource> open(const std::string& file, Given given = {},
                                     const std::string& format = "auto") const {
    return open_all({file}, std::move(given), format);
  }
  std::unique_ptr<SampleSource> open_all(const std::vector<std::string>& files, Given given = {},
                                         const std::string& format = "auto") const {
    return open_source(format, {files, FormatOptions(std::move(given)), path("")});
  }

  // The message with which opening it, or reading all of it, is refused.
  std::string refused(const std::string& file, Given given = {},
                      const std::string& format = "auto") const {
    return message_of([&] {
      const auto source = open(file, std::move(given), format);
      for (std::size_t i = 0; i < source->arrays().size(); ++i) values(*source, i);
    });
  }

  // The same of a file of that content, without the file's name; "" where it is not refused.
  std::string refused_content(const std::string& content, const std::string& format) const {
    const std::string message = refused(file("x", content), {}, format);
    if (message.empty()) return "";
    EXPECT_EQ(message.find(path("x")), 0u) << message;
    return message.substr(std::min(message.size(), path("x").size()));
  }

  static std::vector<double> values(SampleSource& source, std::size_t array, Range rows) {
    const SourceArray& about = source.arrays().at(array);
    std::vector<std::byte> bytes(static_cast<std::size_t>(rows.size()) * about.row_bytes());
    source.read(array, rows, bytes.data());
    std::vector<double> out;
    with_values(about.dtype, bytes.data(), [&](const auto* data) {
      for (std::int64_t i = 0; i < rows.size() * about.sample.elements(); ++i)
        out.push_back(as_double(data[i]));
    });
    return out;
  }
  static std::vector<double> values(SampleSource& source, std::size_t array) {
    return values(source, array, {0, source.size()});
  }
  template <typename Value>
  static Value attribute(const SampleSource& source, std::size_t array, const std::string& name) {
    for (const auto& [key, value] : source.arrays().at(array).attributes) {
      if (key == name) return std::get<Value>(value);
    }
    ADD_FAILURE() << "no attribute " << name;
    return {};
  }

  TemporaryDirectory directory_;
};

using Doubles = std::vector<double>;
using Words = std::vector<std::string>;

// What comes first in `text` is `start`.
inline testing::AssertionResult starts(const std::string& text, const std::string& start) {
  if (text.starts_with(start)) return testing::AssertionSuccess();
  return testing::AssertionFailure() << '"' << text << "\" does not start with \"" << start << '"';
}
#define EXPECT_STARTS(text, start) EXPECT_TRUE(starts(text, start))

}  // namespace lockstep
