// Metrics of an evaluation. A metric measures one batch at a time into a flat list of doubles, its
// state; states are merged, and the value is computed from the last one. The evaluation set is cut
// into numbered batches that do not depend on the number of workers, and states are merged in the
// order of those numbers, so a metric has the same bits on any number of workers. States are plain
// doubles, to be exchanged as they are.
//
//   std::vector<double> total = metric->empty();
//   for (each batch, in order of its number) metric->merge(total, metric->measure(batch));
//   MetricValue value = metric->value(total);
//
// What the definitions agree with:
//   loss               mean of the samples' losses, weighted by the samples' weights
//   accuracy           scikit-learn accuracy_score; equal scores: the first class, as numpy.argmax.
//                      binary: BinaryAccuracy of Keras at probability 0.5 (a logit over 0 is 1)
//   top_K              TensorFlow in_top_k (classes with equal scores are all inside; a target
//                      score that is not finite is outside), so top_1 differs from accuracy where
//                      scores are equal
//   precision, recall, f1   scikit-learn with zero_division = 0; one binary output: average =
//                      "binary" (of class 1); several: average = "macro" over outputs; classes:
//                      "macro" over those that occur as target or prediction
//   confusion_matrix   scikit-learn: row = target, column = prediction; binary: of class 0 and 1
//   auc                scikit-learn roc_auc_score, by ranks, so equal scores count one half; NaN
//                      where only one class occurs. One binary output, or two classes
//   perplexity         exp of the mean of -log p(target), from the logits, natural logarithm
//   mae                Keras and scikit-learn, mean over all elements
//   rmse               Keras RootMeanSquaredError: one root, of the mean over all elements
//   r2                 scikit-learn r2_score, mean over outputs; a constant target gives 1 where it
//                      is met exactly, else 0; NaN for less than two samples
// Every mean over no samples (or no weight) is NaN. Weights are per sample.
//
// Immutable and thread-safe.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/base/shape.h"

namespace lockstep {

// One batch of an evaluation. Of `labels` and `targets` one is given, as the loss reads
// it: labels for softmax_cross_entropy, either for binary_cross_entropy, targets for the others.
struct MetricBatch {
  std::int64_t samples = 0;
  // What the model computes, row-major (samples, ...): logits for the cross-entropies, the last
  // axis being the classes for softmax_cross_entropy.
  std::span<const float> outputs = {};
  std::span<const std::int32_t> labels = {};  // one class a row of logits; binary: 0 or 1 an output
  std::span<const float> targets = {};        // one value an output
  std::span<const float> weights = {};        // one a sample; empty: all 1
  double loss = 0.0;                          // sum over samples of weight times loss
};

struct MetricValue {
  std::string name;
  Shape shape = {};            // () for a number, (classes, classes) for the confusion matrix
  std::vector<double> values;  // row-major
};

class Metric {
 public:
  virtual ~Metric() = default;
  virtual std::string name() const = 0;
  // The state of no samples.
  virtual std::vector<double> empty() const = 0;
  // The state of one batch.
  virtual std::vector<double> measure(const MetricBatch& batch) const = 0;
  // Adds a later state to `total`. The default adds element by element.
  virtual void merge(std::vector<double>& total, std::span<const double> later) const;
  virtual MetricValue value(std::span<const double> total) const = 0;
};

using MetricPtr = std::unique_ptr<const Metric>;

// What a loss says about its outputs.
enum class Task {
  kRegression,  // values
  kBinary,      // logits of independent yes or no questions
  kClasses,     // logits of one class out of several
};

// The task of the loss of that name.
Task task_of_loss(const std::string& loss);

// Which values of a metric are the better ones.
enum class Better {
  kHigher,
  kLower,
  kNeither,  // the metric is no single number
};

// Throws bad_input with the nearest name where `name` is none of a metric.
Better better_values(const std::string& name);

// The metrics that suit a task when none are asked for.
std::vector<std::string> default_metrics(Task task);

// Throws bad_input with the nearest name where `name` is none of a metric, or where the metric does
// not suit the task. Needs no data: for reading a configuration.
void check_metric(const std::string& name, Task task);

// The metrics of these names, in order; "loss" comes first, asked for or not. `outputs` is the
// number of classes (kClasses) or the number of elements that the model computes for one sample.
// Throws bad_input like check_metric, and where a metric does not suit `outputs`.
std::vector<MetricPtr> make_metrics(const std::vector<std::string>& names, Task task,
                                    std::int64_t outputs);

}  // namespace lockstep
