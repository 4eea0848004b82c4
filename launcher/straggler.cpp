#include "launcher/straggler.h"

#include <algorithm>
#include <vector>

namespace lockstep {
namespace {

struct Part {
  const char* name;
  double PhaseSeconds::* seconds;
};
// What a worker does itself; the exchange is waiting for others.
constexpr Part kWork[] = {{"data", &PhaseSeconds::data},
                          {"forward", &PhaseSeconds::forward},
                          {"backward", &PhaseSeconds::backward},
                          {"update", &PhaseSeconds::update}};

double work_of(const PhaseSeconds& seconds) {
  double sum = 0;
  for (const Part& part : kWork) sum += seconds.*part.seconds;
  return sum;
}

template <typename Value>
double median_of(std::span<const PhaseSeconds> workers, const Value& value) {
  std::vector<double> values;
  for (const PhaseSeconds& seconds : workers) values.push_back(value(seconds));
  std::ranges::sort(values);
  return values[(values.size() - 1) / 2];  // of two the faster
}

}  // namespace

std::optional<Straggler> find_straggler(std::span<const PhaseSeconds> workers) {
  if (workers.size() < 2) return std::nullopt;
  const auto slowest = std::ranges::max_element(workers, {}, work_of);
  const double median = median_of(workers, work_of);
  const double time = median_of(workers, [](const PhaseSeconds& seconds) { return work_of(seconds) + seconds.exchange; });
  Straggler out;
  out.rank = static_cast<int>(slowest - workers.begin());
  out.seconds = work_of(*slowest) - median;
  if (!(time > 0) || out.seconds < kLeastShare * time) return std::nullopt;
  out.share = out.seconds / time;
  double most = 0;
  for (const Part& part : kWork) {
    const double more = (*slowest).*part.seconds - median_of(workers, [&](const PhaseSeconds& s) { return s.*part.seconds; });
    if (more <= most) continue;
    most = more;
    out.phase = part.name;
  }
  return out;
}

}  // namespace lockstep
