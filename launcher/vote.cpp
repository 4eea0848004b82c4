#include "launcher/vote.h"

#include <algorithm>

#include "core/base/clock.h"

namespace lockstep {
namespace {

constexpr double kSecondsBetween = 0.05;
constexpr double kMostUnits = 1 << 20;

}  // namespace

bool Vote::due() { return ++units_ >= units_between_ || worker_.world_size() == 1; }

Ballot Vote::cast(const Ballot& mine) {
  if (worker_.world_size() == 1) return mine;
  const Clock::time_point now = Clock::now();
  const double seconds = seconds_between(last_, now);
  last_ = now;
  Ballot any;
  double slowest = 0;
  const std::vector<double> said = {mine.stop ? 1.0 : 0.0, mine.busy ? 1.0 : 0.0, seconds};
  for (const auto& rank : gather_doubles(worker_.communicator(), said, "vote")) {
    any.stop = any.stop || rank.at(0) != 0;
    any.busy = any.busy || rank.at(1) != 0;
    slowest = std::max(slowest, rank.at(2));
  }
  // At most twice as many as before, for one quick unit says little about the next ones.
  const double wanted = static_cast<double>(units_) * kSecondsBetween / std::max(slowest, 1e-9);
  units_between_ = static_cast<std::int64_t>(
      std::clamp(wanted, 1.0, std::min(kMostUnits, 2.0 * static_cast<double>(units_between_))));
  units_ = 0;
  return any;
}

}  // namespace lockstep
