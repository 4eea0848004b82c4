// evaluation.json: the last evaluation of a run in detail, for the report (its keys are in launcher/report.h).
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "launcher/training.h"

namespace lockstep {

struct EvaluationDetail {
  std::vector<MetricValue> metrics;  // of the configuration
  std::string json;                  // the whole of evaluation.json
};

// Evaluates a subset and looks at single samples: confusion matrix, ROC or scatter, and examples with their features or
// images, wrong predictions first. All ranks call it; the result is the same on all. `keep_going` as in EvaluateOptions:
// where it says no, the result is empty.
EvaluationDetail evaluate_in_detail(Training& training, const Subset& subset,
                                    const std::function<bool()>& keep_going = {});

// Probabilities of one row of logits. Numerically stable.
std::vector<double> softmax_of(std::span<const float> logits);

}  // namespace lockstep
