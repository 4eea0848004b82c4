// Options of an import format or of a kind of synthetic data: declared where they are read, so that
// the command line, its help and the code that reads them cannot drift apart.
//
// Errors are bad_input that name the option: "--header expects one of auto, yes, no; found
// 'maybe'".
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/base/shape.h"

namespace lockstep {

struct FormatOption {
  std::string name;   // without dashes
  std::string value;  // what stands for the value in the help: "H,W"; empty: a flag
  std::string about;
};

class FormatOptions {
 public:
  FormatOptions() = default;
  explicit FormatOptions(std::map<std::string, std::string> given) : given_(std::move(given)) {}

  void set(const std::string& name, const std::string& value) { given_[name] = value; }
  const std::map<std::string, std::string>& given() const { return given_; }

  bool has(const std::string& name) const { return given_.contains(name); }
  std::string word(const std::string& name, const std::string& fallback = "") const;
  // Words between commas; none where the option is not given.
  std::vector<std::string> list(const std::string& name) const;
  std::int64_t number(const std::string& name, std::int64_t least, std::int64_t most,
                      std::int64_t fallback) const;
  // A finite number in [least, most].
  double real(const std::string& name, double least, double most, double fallback) const;
  // The position of the option's word among `words`.
  std::size_t choice(const std::string& name, const std::vector<std::string>& words,
                     const std::string& fallback) const;
  // Whole numbers above 0 between commas, "8,8,1"; at most `most_rank` of them.
  std::optional<Shape> shape(const std::string& name, int most_rank = Shape::kMaxRank - 1) const;

 private:
  std::map<std::string, std::string> given_;
};

}  // namespace lockstep
