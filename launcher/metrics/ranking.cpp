// Area under the ROC curve.
#include <algorithm>
#include <cmath>
#include <limits>

#include "launcher/metrics/metric_makers.h"

namespace lockstep {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

// State: {score, class (0 or 1), weight} of every sample; a merge appends. The area is the
// probability that a random sample of class 1 scores above a random one of class 0, equal scores
// counting one half (Hanley and McNeil, Radiology 1982): one sort, then one walk over groups of
// equal scores.
class Auc final : public Metric {
 public:
  explicit Auc(Task task) : task_(task) {}
  std::string name() const override { return "auc"; }
  std::vector<double> empty() const override { return {}; }

  std::vector<double> measure(const MetricBatch& batch) const override {
    const bool two_logits = task_ == Task::kClasses;
    const std::size_t count = batch.outputs.size() / (two_logits ? 2 : 1);
    if (two_logits) {
      require(batch.outputs.size() == 2 * batch.labels.size(), "auc: ", batch.outputs.size(),
              " logits for ", batch.labels.size(), " labels of two classes");
    } else {
      check_yes_no(batch);
    }
    const std::size_t per_sample = batch.samples == 0 ? 1 : count / std::size_t(batch.samples);
    std::vector<double> state;
    state.reserve(3 * count);
    for (std::size_t i = 0; i < count; ++i) {
      const double score = two_logits ? double(batch.outputs[2 * i + 1]) - batch.outputs[2 * i]
                                      : double(batch.outputs[i]);
      state.insert(state.end(), {score, is_yes(batch, i) ? 1.0 : 0.0,
                                 weight_of(batch, std::int64_t(i / per_sample))});
    }
    return state;
  }

  void merge(std::vector<double>& total, std::span<const double> later) const override {
    total.insert(total.end(), later.begin(), later.end());
  }

  MetricValue value(std::span<const double> total) const override {
    struct Sample {
      double score;
      bool positive;
      double weight;
    };
    std::vector<Sample> samples;
    samples.reserve(total.size() / 3);
    for (std::size_t i = 0; i + 2 < total.size(); i += 3) {
      if (std::isnan(total[i])) return {name(), {}, {kNaN}};
      samples.push_back({total[i], total[i + 1] == 1.0, total[i + 2]});
    }
    std::ranges::stable_sort(samples, {}, &Sample::score);
    double area = 0.0, negatives = 0.0, positives = 0.0;  // weights of what scored below
    for (std::size_t i = 0; i < samples.size();) {
      double equal_negatives = 0.0, equal_positives = 0.0;
      const double score = samples[i].score;
      for (; i < samples.size() && samples[i].score == score; ++i) {
        (samples[i].positive ? equal_positives : equal_negatives) += samples[i].weight;
      }
      area += equal_positives * (negatives + 0.5 * equal_negatives);
      negatives += equal_negatives;
      positives += equal_positives;
    }
    const double pairs = positives * negatives;
    return {name(), {}, {pairs == 0.0 ? kNaN : area / pairs}};
  }

 private:
  Task task_;
};

}  // namespace

MetricPtr make_auc(Task task) {
  return std::make_unique<Auc>(task);
}

}  // namespace lockstep
