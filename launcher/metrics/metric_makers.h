// One function per metric; launcher/metrics.h says what each computes. For launcher/metrics.cpp
// only.
#pragma once

#include "core/base/error.h"
#include "launcher/metrics.h"

namespace lockstep {

// The weight of one sample.
inline double weight_of(const MetricBatch& batch, std::int64_t sample) {
  return batch.weights.empty() ? 1.0 : static_cast<double>(batch.weights[std::size_t(sample)]);
}

// Whether target `i` of a binary task is class 1.
inline bool is_yes(const MetricBatch& batch, std::size_t i) {
  return batch.labels.empty() ? batch.targets[i] > 0.5f : batch.labels[i] == 1;
}

// Throws broken_invariant unless every logit of a binary task has a target.
inline void check_yes_no(const MetricBatch& batch) {
  const std::size_t targets = batch.labels.empty() ? batch.targets.size() : batch.labels.size();
  require(batch.outputs.size() == targets, "metrics: ", batch.outputs.size(), " logits for ",
          targets, " targets");
}

// classification.cpp. `outputs` as in make_metrics.
MetricPtr make_accuracy(Task task, std::int64_t outputs);
MetricPtr make_top_k(std::int64_t k, std::int64_t classes);
MetricPtr make_precision(Task task, std::int64_t outputs);
MetricPtr make_recall(Task task, std::int64_t outputs);
MetricPtr make_f1(Task task, std::int64_t outputs);
MetricPtr make_confusion_matrix(Task task, std::int64_t outputs);
MetricPtr make_perplexity(std::int64_t classes);

// ranking.cpp
MetricPtr make_auc(Task task);

// regression.cpp
MetricPtr make_loss();
MetricPtr make_mae(std::int64_t outputs);
MetricPtr make_rmse(std::int64_t outputs);
MetricPtr make_r2(std::int64_t outputs);

}  // namespace lockstep
