#include "launcher/config_difference.h"

#include <map>
#include <sstream>
#include <utility>
#include <vector>

#include "core/base/error.h"

namespace lockstep {
namespace {

using Entries = std::vector<std::pair<std::string, std::string>>;

// Of "[[layer]]", whose tables are counted, or of "[train.optimizer]": what stands before the keys.
std::string prefix_of(const std::string& heading, std::map<std::string, int>& counted) {
  if (heading.starts_with("[[")) {
    const std::string name = heading.substr(2, heading.find(']') - 2);
    return text(name, ".", counted[name]++, ".");
  }
  return heading.substr(1, heading.find(']') - 1) + ".";
}

// Keys and values in the order of the text: to_toml writes one on each line.
Entries entries_of(const std::string& toml) {
  Entries out;
  std::map<std::string, int> counted;
  std::string prefix;
  std::istringstream in(toml);
  for (std::string line; std::getline(in, line);) {
    const std::size_t equal = line.find(" = ");
    if (line.starts_with("[")) {
      prefix = prefix_of(line, counted);
    } else if (equal != std::string::npos) {
      out.emplace_back(prefix + line.substr(0, equal), line.substr(equal + 3));
    }
  }
  return out;
}

}  // namespace

ConfigDifference difference_of(const std::string& first, const std::string& second) {
  const Entries ours = entries_of(first), theirs = entries_of(second);
  const std::map<std::string, std::string> known(ours.begin(), ours.end()),
      others(theirs.begin(), theirs.end());
  for (const auto& [key, value] : ours) {
    const auto found = others.find(key);
    if (found == others.end()) return {key, value, "nothing"};
    if (found->second != value) return {key, value, found->second};
  }
  for (const auto& [key, value] : theirs) {
    if (!known.contains(key)) return {key, "nothing", value};
  }
  return {};
}

}  // namespace lockstep
