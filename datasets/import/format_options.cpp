#include "datasets/import/format_options.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <sstream>

#include "core/base/error.h"

namespace lockstep {
namespace {

template <typename Number>
std::optional<Number> parsed(const std::string& word) {
  Number value{};
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
  if (error != std::errc() || end != word.data() + word.size()) return std::nullopt;
  return value;
}

}  // namespace

std::string FormatOptions::word(const std::string& name, const std::string& fallback) const {
  const auto found = given_.find(name);
  return found == given_.end() ? fallback : found->second;
}

std::vector<std::string> FormatOptions::list(const std::string& name) const {
  std::vector<std::string> out;
  std::istringstream in(word(name));
  for (std::string word; std::getline(in, word, ',');) out.push_back(word);
  return out;
}

std::int64_t FormatOptions::number(const std::string& name, std::int64_t least, std::int64_t most,
                                   std::int64_t fallback) const {
  if (!has(name)) return fallback;
  const auto value = parsed<std::int64_t>(word(name));
  check_input(value && *value >= least && *value <= most, "--", name, " expects an integer from ",
              least, " to ", most, ", found '", word(name), "'");
  return *value;
}

double FormatOptions::real(const std::string& name, double least, double most,
                           double fallback) const {
  if (!has(name)) return fallback;
  const auto value = parsed<double>(word(name));
  check_input(value && *value >= least && *value <= most, "--", name, " expects a number from ",
              least, " to ", most, ", found '", word(name), "'");
  return *value;
}

std::size_t FormatOptions::choice(const std::string& name, const std::vector<std::string>& words,
                                  const std::string& fallback) const {
  const std::string value = word(name, fallback);
  const auto found = std::ranges::find(words, value);
  if (found != words.end()) return static_cast<std::size_t>(found - words.begin());
  std::string expected;
  for (const std::string& known : words) expected += (expected.empty() ? "" : ", ") + known;
  bad_input("--", name, " expects one of ", expected, "; found '", value, "'");
}

std::optional<Shape> FormatOptions::shape(const std::string& name, int most_rank) const {
  if (!has(name)) return std::nullopt;
  std::vector<std::int64_t> dims;
  std::int64_t elements = 1;
  for (const std::string& extent : list(name)) {
    const auto number = parsed<std::int64_t>(extent);
    check_input(number && *number >= 1, "--", name, ": found '", extent,
                "', expected whole numbers above 0, as 8,8,1");
    check_input(!__builtin_mul_overflow(elements, *number, &elements) && elements < (1LL << 40),
                "--", name, ": ", word(name), " has too many elements");
    dims.push_back(*number);
  }
  check_input(!dims.empty() && static_cast<int>(dims.size()) <= most_rank, "--", name, ": found ",
              dims.size(), " numbers, expected 1 to ", most_rank);
  return Shape(std::span<const std::int64_t>(dims));
}

}  // namespace lockstep
