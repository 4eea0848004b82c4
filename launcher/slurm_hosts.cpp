#include "launcher/slurm_hosts.h"

#include <charconv>
#include <optional>
#include <sstream>

namespace lockstep {
namespace {

constexpr std::int64_t kMostNodes = 100000;  // more is no list of nodes

std::optional<std::int64_t> number_of(const std::string& digits) {
  std::int64_t out = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), out);
  const bool whole = error == std::errc() && end == digits.data() + digits.size();
  return whole && out >= 0 ? std::optional(out) : std::nullopt;
}

// Splits at commas that stand outside of brackets.
std::vector<std::string> items_of(const std::string& list) {
  std::vector<std::string> out{""};
  int depth = 0;
  for (const char c : list) {
    depth += c == '[' ? 1 : c == ']' ? -1 : 0;
    if (c == ',' && depth == 0)
      out.emplace_back();
    else
      out.back() += c;
  }
  return out;
}

// "01-03" -> "01", "02", "03"; false where it is no range.
bool add_range(const std::string& range, std::vector<std::string>& numbers) {
  const std::size_t dash = range.find('-');
  const std::string first = range.substr(0, dash);
  const auto low = number_of(first);
  const auto high = dash == std::string::npos ? low : number_of(range.substr(dash + 1));
  if (!low || !high || *high < *low || *high - *low > kMostNodes) return false;
  for (std::int64_t i = *low; i <= *high; ++i) {
    std::string digits = std::to_string(i);
    if (digits.size() < first.size()) digits.insert(0, first.size() - digits.size(), '0');
    numbers.push_back(digits);
  }
  return true;
}

// The names of an item; false where it is none.
bool add_names(const std::string& item, std::vector<Host>& hosts) {
  const std::size_t open = item.find('['), close = item.find(']');
  if (open == std::string::npos) {
    if (!item.empty()) hosts.push_back({item});
    return !item.empty() && close == std::string::npos;
  }
  // Names of several dimensions ("a[1-2]b[1-2]") are not read.
  if (close == std::string::npos || close < open) return false;
  if (item.find('[', close) != std::string::npos) return false;
  std::vector<std::string> numbers;
  std::istringstream ranges(item.substr(open + 1, close - open - 1));
  for (std::string range; std::getline(ranges, range, ',');) {
    if (!add_range(range, numbers)) return false;
  }
  for (const std::string& number : numbers) {
    hosts.push_back({item.substr(0, open) + number + item.substr(close + 1)});
  }
  return !numbers.empty();
}

std::vector<std::int64_t> counts_of(const std::string& tasks) {
  std::vector<std::int64_t> out;
  for (const std::string& item : items_of(tasks)) {
    const std::size_t times = item.find("(x");
    const auto count = number_of(item.substr(0, times));
    std::optional<std::int64_t> repeats = 1;
    if (times != std::string::npos) {
      repeats = number_of(item.substr(times + 2, item.find(')') - times - 2));
    }
    if (!count || !repeats || *repeats > kMostNodes) return {};
    out.insert(out.end(), static_cast<std::size_t>(*repeats), *count);
  }
  return out;
}

}  // namespace

std::vector<Host> slurm_hosts(const std::string& nodes, const std::string& tasks) {
  std::vector<Host> hosts;
  for (const std::string& item : items_of(nodes)) {
    if (!add_names(item, hosts)) return {};
  }
  const std::vector<std::int64_t> counts = counts_of(tasks);
  for (std::size_t i = 0; i < hosts.size() && counts.size() == hosts.size(); ++i) {
    hosts[i].workers = static_cast<int>(counts[i]);
  }
  return hosts;
}

}  // namespace lockstep
