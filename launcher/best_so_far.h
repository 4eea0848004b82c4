// Follows one metric over the evaluations of a training: which was the best, and how long ago. For keeping the best
// checkpoint and for stopping early. What it decides depends on the values alone, which are equal on all ranks.
//
// Owned by the loop that evaluates; not thread-safe.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "launcher/metrics.h"

namespace lockstep {

// What is kept with a checkpoint.
struct BestState {
  std::string metric;
  double value = 0;                // the best; of no meaning before there is one
  std::int64_t step = -1;          // optimizer steps done when it was reached; -1: there is none yet
  std::int64_t evaluations = 0;    // since the best; all of them where there is none

  bool operator==(const BestState&) const = default;
};

// {"metric": "loss", "value": 0.25, "step": 120, "evaluations": 2}, on one line; without a best, "value" is null.
std::string to_json(const BestState& state);
// Throws bad_input where the text is none of those.
BestState best_state_from_json(const std::string& json);

class BestSoFar {
 public:
  // A value is better where it lies more than `min_delta` beyond the best. Throws bad_input where the metric is not known
  // or is no single number.
  explicit BestSoFar(const std::string& metric, double min_delta = 0);

  // Takes up where the training was that this state was kept of; begins anew where it followed another metric.
  void resume(const BestState& state);

  // The values of the evaluation after `step` optimizer steps. True where it is the best so far; NaN never is.
  // REQUIRES: the metric is among them.
  bool update(std::int64_t step, const std::vector<MetricValue>& values);

  std::int64_t evaluations_since_best() const { return state_.evaluations; }
  const BestState& state() const { return state_; }

 private:
  bool is_better(double value) const;

  Better better_;
  double min_delta_;
  BestState state_;
};

}  // namespace lockstep
