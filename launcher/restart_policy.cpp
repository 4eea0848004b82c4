#include "launcher/restart_policy.h"

#include <algorithm>
#include <cmath>

namespace lockstep {
namespace {

constexpr std::size_t kFailuresOfHost = 2;  // until it is left out
constexpr double kLongestPause = 60;        // seconds

void forget_before(std::vector<double>& times, double oldest) {
  std::erase_if(times, [&](double time) { return time < oldest; });
}

}  // namespace

bool RestartPolicy::note_failure(double now, const std::string& host) {
  const auto found =
      std::ranges::find_if(hosts_, [&](const Host& one) { return is_same_host(one.name, host); });
  if (found == hosts_.end()) return false;
  std::vector<double>& times = failures_[found->name];
  forget_before(times, now - limits_.window);
  times.push_back(now);
  return times.size() >= kFailuresOfHost && leave_out(found->name);
}

bool RestartPolicy::leave_out(const std::string& host) {
  return several_ &&
         std::erase_if(hosts_, [&](const Host& one) { return is_same_host(one.name, host); }) > 0;
}

std::optional<Restart> RestartPolicy::next(double now) {
  forget_before(restarts_, now - limits_.window);
  const auto before = static_cast<std::int64_t>(restarts_.size());
  if (before >= limits_.most) return std::nullopt;
  restarts_.push_back(now);
  const double pause =
      before == 0 ? 0 : std::min(kLongestPause, std::exp2(static_cast<double>(before - 1)));
  return Restart{before + 1, pause};
}

}  // namespace lockstep
