// Which worker keeps the others waiting. In a training that is in lockstep the slowest worker sets the pace, and the others
// spend the difference waiting in the exchange.
#pragma once

#include <optional>
#include <span>
#include <string>

#include "launcher/log.h"

namespace lockstep {

struct Straggler {
  int rank = 0;
  std::string phase;   // in which it spends the most more than the others
  double seconds = 0;  // of work more than the median worker, all phases together
  double share = 0;    // the same as a part of the median worker's time for a step
};

// `workers`: by rank, over the same steps. A worker that works at least kLeastShare longer than the median one; none where
// all are about as fast, or there is one only.
inline constexpr double kLeastShare = 0.1;
std::optional<Straggler> find_straggler(std::span<const PhaseSeconds> workers);

}  // namespace lockstep
