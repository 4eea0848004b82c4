#include "core/device/algorithm_cache.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>
#include <string_view>

#include "core/base/error.h"
#include "core/base/file.h"
#include "core/base/hash.h"
#include "core/base/progress.h"

namespace lockstep {
namespace {

constexpr std::string_view kTitle = "lockstep algorithms 1\n";
constexpr std::string_view kChecksum = "checksum ";
constexpr std::string_view kFastest = "fastest ";
constexpr std::size_t kMostMeasured = 8;   // proposals for a problem

void check_text(const std::string& part) {
  require(part.find_first_of("\t\n") == std::string::npos, "an algorithm cache cannot keep \"", part, '"');
}

std::string checksum_line(std::string_view lines) {
  return text(kChecksum, hex_of(xxh3(std::as_bytes(std::span(lines)))), '\n');
}

// What is before the last line; nothing where that is not its checksum.
std::string_view checked_lines(std::string_view bytes) {
  const std::size_t length = kChecksum.size() + 17;
  if (bytes.size() < length) return {};
  const std::string_view lines = bytes.substr(0, bytes.size() - length);
  return bytes.substr(lines.size()) == checksum_line(lines) ? lines : std::string_view{};
}

}  // namespace

AlgorithmCache::AlgorithmCache(std::string environment) : environment_(std::move(environment)) {
  check_text(environment_);
}

std::size_t AlgorithmCache::size() const {
  std::size_t count = 0;
  for (const auto& [key, choice] : choices_) count += key.first == environment_;
  return count;
}

AlgorithmCache::Key AlgorithmCache::key(const std::string& problem) const {
  return {environment_, fastest_ ? text(kFastest, problem) : problem};
}

const std::string* AlgorithmCache::find(const std::string& problem) const {
  const auto it = choices_.find(key(problem));
  return it == choices_.end() ? nullptr : &it->second;
}

void AlgorithmCache::keep(const std::string& problem, std::string choice) {
  check_text(problem);
  check_text(choice);
  choices_[key(problem)] = std::move(choice);
}

void AlgorithmCache::forget(const std::string& problem) { choices_.erase(key(problem)); }

std::string AlgorithmCache::choose(const std::string& problem, const Proposals& proposals) {
  if (const std::string* known = find(problem)) return *known;
  const bool can_measure = fastest_ && proposals.seconds;
  const bool measures = can_measure && may_measure();
  const std::vector<std::string> found = proposals.list(measures ? kMostMeasured : 1);
  const std::string favourite = found.empty() ? "" : found.front();
  if (can_measure && !measures) {
    unmeasured_.insert(problem);
    return favourite;
  }
  keep(problem, found.size() > 1 ? fastest_of(found, proposals.seconds) : favourite);
  return *find(problem);
}

void AlgorithmCache::measure_for(double seconds) {
  measures_for_ = static_cast<std::int64_t>(seconds * 1e9);
  measures_until_ = 0;
}

bool AlgorithmCache::may_measure() {
  if (measures_for_ == 0) return false;
  const std::int64_t now = monotonic_nanoseconds();
  if (measures_until_ == 0) measures_until_ = now + measures_for_;
  return now < measures_until_;
}

std::string fastest_of(const std::vector<std::string>& choices, const std::function<double(const std::string&)>& seconds) {
  constexpr std::size_t kRounds = 3;
  constexpr double kHopeless = 1.5;  // times the best of the first round: not tried again
  constexpr double kClearly = 0.95;  // of the time of an earlier one
  std::vector<double> first;
  for (const std::string& choice : choices) {
    try {
      first.push_back(seconds(choice));
    } catch (const Error&) {  // the library proposes what it cannot do
      first.push_back(std::numeric_limits<double>::infinity());
    }
  }
  const double limit = kHopeless * std::ranges::min(first);
  if (std::isinf(limit)) return choices.front();
  std::vector<std::vector<double>> times(choices.size());
  for (std::size_t round = 0; round < kRounds; ++round) {
    for (std::size_t i = 0; i < choices.size(); ++i) {
      if (first[i] <= limit) times[i].push_back(seconds(choices[i]));
    }
  }
  std::size_t best = choices.size();
  double least = 0;
  for (std::size_t i = 0; i < choices.size(); ++i) {
    if (times[i].empty()) continue;
    std::ranges::nth_element(times[i], times[i].begin() + kRounds / 2);
    const double median = times[i][kRounds / 2];
    if (best < choices.size() && median > kClearly * least) continue;
    best = i;
    least = median;
  }
  return choices.at(best);
}

// ---- Text and file -----------------------------------------------------------------------------

std::string AlgorithmCache::to_text() const {
  std::string lines(kTitle);
  for (const auto& [key, choice] : choices_) lines += text(key.first, '\t', key.second, '\t', choice, '\n');
  return lines + checksum_line(lines);
}

bool AlgorithmCache::add_text(const std::string& bytes, std::string& why) {
  why.clear();
  if (!std::string_view(bytes).starts_with(kTitle)) {
    why = "is no file of algorithms";
    return false;
  }
  std::string_view lines = checked_lines(bytes);
  if (lines.empty()) {
    why = "its checksum does not fit its content";
    return false;
  }
  lines.remove_prefix(kTitle.size());
  std::map<Key, std::string> found;
  while (!lines.empty()) {
    const std::size_t end = lines.find('\n'), first = lines.find('\t'), second = lines.find('\t', first + 1);
    if (end == std::string_view::npos || first >= end || second >= end) {
      why = "a line is not an environment, a problem and a choice";
      return false;
    }
    const std::string_view environment = lines.substr(0, first);
    const std::string_view problem = lines.substr(first + 1, second - first - 1);
    found.emplace(Key(environment, problem), lines.substr(second + 1, end - second - 1));
    lines.remove_prefix(end + 1);
  }
  choices_.merge(found);
  return true;
}

bool AlgorithmCache::load(const std::string& path, std::string& why) {
  why.clear();
  if (!is_file(path)) return false;
  if (add_text(local_files().read(path), why)) return true;
  why = text(path, ": ", why);
  return false;
}

void AlgorithmCache::save(const std::string& path) const { local_files().write_atomic(path, to_text()); }

}  // namespace lockstep
