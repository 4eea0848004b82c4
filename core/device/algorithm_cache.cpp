#include "core/device/algorithm_cache.h"

#include <span>
#include <string_view>

#include "core/base/error.h"
#include "core/base/file.h"
#include "core/base/hash.h"

namespace lockstep {
namespace {

constexpr std::string_view kTitle = "lockstep algorithms 1\n";
constexpr std::string_view kChecksum = "checksum ";

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

const std::string* AlgorithmCache::find(const std::string& problem) const {
  const auto it = choices_.find(Key(environment_, problem));
  return it == choices_.end() ? nullptr : &it->second;
}

void AlgorithmCache::keep(const std::string& problem, std::string choice) {
  check_text(problem);
  check_text(choice);
  choices_[Key(environment_, problem)] = std::move(choice);
}

const std::string& AlgorithmCache::choose(const std::string& problem,
                                          const std::function<std::string()>& choose) {
  if (const std::string* known = find(problem)) return *known;
  keep(problem, choose());
  return *find(problem);
}

bool AlgorithmCache::load(const std::string& path, std::string& why) {
  why.clear();
  if (!is_file(path)) return false;
  const std::string bytes = local_files().read(path);
  if (!std::string_view(bytes).starts_with(kTitle)) {
    why = text(path, ": is no file of algorithms");
    return false;
  }
  std::string_view lines = checked_lines(bytes);
  if (lines.empty()) {
    why = text(path, ": its checksum does not fit its content");
    return false;
  }
  lines.remove_prefix(kTitle.size());
  std::map<Key, std::string> found;
  while (!lines.empty()) {
    const std::size_t end = lines.find('\n'), first = lines.find('\t'), second = lines.find('\t', first + 1);
    if (end == std::string_view::npos || first >= end || second >= end) {
      why = text(path, ": a line is not an environment, a problem and a choice");
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

void AlgorithmCache::save(const std::string& path) const {
  std::string lines(kTitle);
  for (const auto& [key, choice] : choices_) lines += text(key.first, '\t', key.second, '\t', choice, '\n');
  local_files().write_atomic(path, lines + checksum_line(lines));
}

}  // namespace lockstep
