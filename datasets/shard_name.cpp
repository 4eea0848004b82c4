#include "datasets/shard_name.h"

#include <algorithm>
#include <cstdio>

namespace lockstep {
namespace {

constexpr std::size_t kDigits = 5;
constexpr const char* kPattern = "-#####-of-#####.h5";

}  // namespace

std::string ShardName::path() const {
  char suffix[48];
  std::snprintf(suffix, sizeof(suffix), "-%05lld-of-%05lld.h5", static_cast<long long>(number),
                static_cast<long long>(count));
  return set + suffix;
}

std::optional<ShardName> parse_shard_name(const std::string& path) {
  const std::string pattern = kPattern;
  if (path.size() <= pattern.size()) return std::nullopt;
  const std::string suffix = path.substr(path.size() - pattern.size());
  const bool fits = std::ranges::equal(suffix, pattern, [](char found, char expected) {
    return expected == '#' ? found >= '0' && found <= '9' : found == expected;
  });
  if (!fits) return std::nullopt;
  return ShardName{path.substr(0, path.size() - pattern.size()),
                   std::stoll(suffix.substr(1, kDigits)),
                   std::stoll(suffix.substr(pattern.rfind('-') + 1, kDigits))};
}

}  // namespace lockstep
