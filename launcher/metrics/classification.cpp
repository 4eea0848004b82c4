// Metrics of classes: accuracy, top-k, precision, recall, F1, confusion matrix, perplexity.
#include <algorithm>
#include <cmath>
#include <limits>

#include "core/base/error.h"
#include "launcher/metrics/metric_makers.h"

namespace lockstep {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

double ratio(double part, double whole) {
  return whole == 0.0 ? kNaN : part / whole;
}

// Calls fn(scores, label, weight) for every row of logits.
template <typename Function>
void for_each_row(const MetricBatch& batch, std::int64_t classes, const Function& fn) {
  const auto rows = std::int64_t(batch.labels.size());
  require(std::int64_t(batch.outputs.size()) == rows * classes, "metrics: ", batch.outputs.size(),
          " logits for ", rows, " labels of ", classes, " classes");
  const std::int64_t rows_per_sample = batch.samples == 0 ? 1 : rows / batch.samples;
  for (std::int64_t row = 0; row < rows; ++row) {
    const std::int64_t label = batch.labels[std::size_t(row)];
    check_input(label >= 0 && label < classes, "label ", label, " of the evaluation is not in [0, ",
                classes, ")");
    fn(batch.outputs.subspan(std::size_t(row * classes), std::size_t(classes)), label,
       weight_of(batch, row / rows_per_sample));
  }
}

// One decision: is the target class `target`, was `prediction` chosen. For binary tasks `column` is
// the output and the classes are 0 and 1.
struct Decision {
  std::int64_t column, target, prediction;
  double weight;
};

template <typename Function>
void for_each_decision(const MetricBatch& batch, Task task, std::int64_t outputs,
                       const Function& fn) {
  if (task == Task::kClasses) {
    for_each_row(batch, outputs,
                 [&](std::span<const float> scores, std::int64_t label, double weight) {
                   const auto best = std::max_element(scores.begin(), scores.end());
                   fn(Decision{0, label, best - scores.begin(), weight});
                 });
    return;
  }
  check_yes_no(batch);
  for (std::size_t i = 0; i < batch.outputs.size(); ++i) {
    const auto element = std::int64_t(i);
    fn(Decision{element % outputs, is_yes(batch, i), batch.outputs[i] > 0.0f,
                weight_of(batch, element / outputs)});
  }
}

// State: {weight of what is right, weight of everything}.
class Accuracy final : public Metric {
 public:
  Accuracy(Task task, std::int64_t outputs) : task_(task), outputs_(outputs) {}
  std::string name() const override { return "accuracy"; }
  std::vector<double> empty() const override { return {0.0, 0.0}; }
  std::vector<double> measure(const MetricBatch& batch) const override {
    std::vector<double> state = empty();
    for_each_decision(batch, task_, outputs_, [&](const Decision& decision) {
      if (decision.target == decision.prediction) state[0] += decision.weight;
      state[1] += decision.weight;
    });
    return state;
  }
  MetricValue value(std::span<const double> total) const override {
    return {name(), {}, {ratio(total[0], total[1])}};
  }

 private:
  Task task_;
  std::int64_t outputs_;
};

// State: as Accuracy.
class TopK final : public Metric {
 public:
  TopK(std::int64_t k, std::int64_t classes) : k_(k), classes_(classes) {}
  std::string name() const override { return text("top_", k_); }
  std::vector<double> empty() const override { return {0.0, 0.0}; }
  std::vector<double> measure(const MetricBatch& batch) const override {
    std::vector<double> state = empty();
    for_each_row(batch, classes_,
                 [&](std::span<const float> scores, std::int64_t label, double weight) {
                   const float own = scores[std::size_t(label)];
                   const std::int64_t better = std::count_if(
                       scores.begin(), scores.end(), [own](float score) { return score > own; });
                   if (std::isfinite(own) && better < k_) state[0] += weight;
                   state[1] += weight;
                 });
    return state;
  }
  MetricValue value(std::span<const double> total) const override {
    return {name(), {}, {ratio(total[0], total[1])}};
  }

 private:
  std::int64_t k_, classes_;
};

enum class Score { kPrecision, kRecall, kF1 };

// State: for each class (kClasses) or output (kBinary) the weights {true positives, predicted,
// actual}, then the weight of everything.
class MacroScore final : public Metric {
 public:
  MacroScore(Score score, Task task, std::int64_t outputs)
      : score_(score), task_(task), outputs_(outputs) {}
  std::string name() const override {
    switch (score_) {
      case Score::kPrecision:
        return "precision";
      case Score::kRecall:
        return "recall";
      case Score::kF1:
        break;
    }
    return "f1";
  }
  std::vector<double> empty() const override {
    return std::vector<double>(std::size_t(3 * outputs_ + 1), 0.0);
  }
  std::vector<double> measure(const MetricBatch& batch) const override {
    std::vector<double> state = empty();
    const auto count = [&](std::int64_t index, int field, double weight) {
      state[std::size_t(3 * index + field)] += weight;
    };
    for_each_decision(batch, task_, outputs_, [&](const Decision& decision) {
      state.back() += decision.weight;
      if (task_ == Task::kClasses) {
        if (decision.target == decision.prediction) count(decision.target, 0, decision.weight);
        count(decision.prediction, 1, decision.weight);
        count(decision.target, 2, decision.weight);
      } else {
        if (decision.target == 1 && decision.prediction == 1) {
          count(decision.column, 0, decision.weight);
        }
        if (decision.prediction == 1) count(decision.column, 1, decision.weight);
        if (decision.target == 1) count(decision.column, 2, decision.weight);
      }
    });
    return state;
  }
  MetricValue value(std::span<const double> total) const override {
    if (total.back() == 0.0) return {name(), {}, {kNaN}};
    double sum = 0.0;
    std::int64_t terms = 0;
    for (std::int64_t i = 0; i < outputs_; ++i) {
      const double* counts = total.data() + 3 * i;
      if (task_ == Task::kClasses && counts[1] == 0.0 && counts[2] == 0.0) continue;
      sum += score_of(counts[0], counts[1], counts[2]);
      ++terms;
    }
    return {name(), {}, {sum / double(terms)}};
  }

 private:
  double score_of(double hits, double predicted, double actual) const {
    const double part = score_ == Score::kF1 ? 2.0 * hits : hits;
    const double whole = score_ == Score::kPrecision ? predicted
                         : score_ == Score::kRecall  ? actual
                                                     : predicted + actual;
    return whole == 0.0 ? 0.0 : part / whole;
  }

  Score score_;
  Task task_;
  std::int64_t outputs_;
};

// State: the matrix, row-major.
class ConfusionMatrix final : public Metric {
 public:
  ConfusionMatrix(Task task, std::int64_t outputs)
      : task_(task), outputs_(outputs), classes_(task == Task::kClasses ? outputs : 2) {}
  std::string name() const override { return "confusion_matrix"; }
  std::vector<double> empty() const override {
    return std::vector<double>(std::size_t(classes_ * classes_), 0.0);
  }
  std::vector<double> measure(const MetricBatch& batch) const override {
    std::vector<double> state = empty();
    for_each_decision(batch, task_, outputs_, [&](const Decision& decision) {
      state[std::size_t(decision.target * classes_ + decision.prediction)] += decision.weight;
    });
    return state;
  }
  MetricValue value(std::span<const double> total) const override {
    return {name(), {classes_, classes_}, {total.begin(), total.end()}};
  }

 private:
  Task task_;
  std::int64_t outputs_, classes_;
};

// State: {sum of weight * -log p(target), weight}.
class Perplexity final : public Metric {
 public:
  explicit Perplexity(std::int64_t classes) : classes_(classes) {}
  std::string name() const override { return "perplexity"; }
  std::vector<double> empty() const override { return {0.0, 0.0}; }
  std::vector<double> measure(const MetricBatch& batch) const override {
    std::vector<double> state = empty();
    for_each_row(batch, classes_,
                 [&](std::span<const float> scores, std::int64_t label, double weight) {
                   const double top = *std::max_element(scores.begin(), scores.end());
                   double sum = 0.0;
                   for (const float score : scores) sum += std::exp(score - top);
                   state[0] += weight * (std::log(sum) + top - scores[std::size_t(label)]);
                   state[1] += weight;
                 });
    return state;
  }
  MetricValue value(std::span<const double> total) const override {
    return {name(), {}, {std::exp(ratio(total[0], total[1]))}};
  }

 private:
  std::int64_t classes_;
};

}  // namespace

MetricPtr make_accuracy(Task task, std::int64_t outputs) {
  return std::make_unique<Accuracy>(task, outputs);
}

MetricPtr make_top_k(std::int64_t k, std::int64_t classes) {
  return std::make_unique<TopK>(k, classes);
}

MetricPtr make_precision(Task task, std::int64_t outputs) {
  return std::make_unique<MacroScore>(Score::kPrecision, task, outputs);
}

MetricPtr make_recall(Task task, std::int64_t outputs) {
  return std::make_unique<MacroScore>(Score::kRecall, task, outputs);
}

MetricPtr make_f1(Task task, std::int64_t outputs) {
  return std::make_unique<MacroScore>(Score::kF1, task, outputs);
}

MetricPtr make_confusion_matrix(Task task, std::int64_t outputs) {
  return std::make_unique<ConfusionMatrix>(task, outputs);
}

MetricPtr make_perplexity(std::int64_t classes) {
  return std::make_unique<Perplexity>(classes);
}

}  // namespace lockstep
