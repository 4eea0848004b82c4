// Metrics against values worked out by hand and by the formulas of scikit-learn, and their merging.
#include "launcher/metrics.h"

#include <gtest/gtest.h>

#include <cmath>

#include "core/base/error.h"
#include "core/base/random.h"

namespace lockstep {
namespace {

constexpr double kClose = 1e-12;

std::vector<double> values_of(const std::string& name, Task task, std::int64_t outputs,
                              const MetricBatch& batch) {
  const std::vector<MetricPtr> metrics = make_metrics({name}, task, outputs);
  const Metric& metric = *metrics.back();
  EXPECT_EQ(metric.name(), name);
  std::vector<double> total = metric.empty();
  metric.merge(total, metric.measure(batch));
  return metric.value(total).values;
}

double value_of(const std::string& name, Task task, std::int64_t outputs,
                const MetricBatch& batch) {
  return values_of(name, task, outputs, batch).at(0);
}

std::string refusal(const std::vector<std::string>& names, Task task, std::int64_t outputs) {
  try {
    make_metrics(names, task, outputs);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kBadInput);
    return error.what();
  }
  return "nothing was thrown";
}

// Five samples of three classes. Predictions 0, 1, 1, 2, 0; class 2 is predicted once and wrongly.
struct Classes {
  std::vector<float> logits = {5, 1, 0,  //
                               0, 2, 1,  //
                               1, 3, 2,  //
                               0, 1, 4,  //
                               2, 1, 1};
  std::vector<std::int32_t> labels = {0, 1, 0, 1, 0};
  MetricBatch batch() const { return {.samples = 5, .outputs = logits, .labels = labels}; }
};

TEST(Metrics, ClassesByHand) {
  const Classes data;
  const MetricBatch batch = data.batch();
  EXPECT_DOUBLE_EQ(value_of("accuracy", Task::kClasses, 3, batch), 3.0 / 5.0);
  // Per class: precision 2/2, 1/2, 0/1; recall 2/3, 1/2, 0 (class 2 is never a target).
  EXPECT_NEAR(value_of("precision", Task::kClasses, 3, batch), (1.0 + 0.5 + 0.0) / 3, kClose);
  EXPECT_NEAR(value_of("recall", Task::kClasses, 3, batch), (2.0 / 3 + 0.5 + 0.0) / 3, kClose);
  EXPECT_NEAR(value_of("f1", Task::kClasses, 3, batch), (0.8 + 0.5 + 0.0) / 3, kClose);
  EXPECT_EQ(values_of("confusion_matrix", Task::kClasses, 3, batch),
            (std::vector<double>{2, 1, 0, 0, 1, 1, 0, 0, 0}));
  // Better scores than the target's: 0, 0, 2, 1, 0.
  EXPECT_DOUBLE_EQ(value_of("top_1", Task::kClasses, 3, batch), 3.0 / 5.0);
  EXPECT_DOUBLE_EQ(value_of("top_2", Task::kClasses, 3, batch), 4.0 / 5.0);
  EXPECT_DOUBLE_EQ(value_of("top_3", Task::kClasses, 3, batch), 1.0);
}

TEST(Metrics, AClassThatDoesNotOccurIsLeftOutOfTheMacroMean) {
  const std::vector<float> logits = {2, 1, 0, 1, 2, 0};
  const std::vector<std::int32_t> labels = {0, 1};
  const MetricBatch batch{.samples = 2, .outputs = logits, .labels = labels};
  EXPECT_EQ(value_of("precision", Task::kClasses, 3, batch), 1.0);
  EXPECT_EQ(value_of("recall", Task::kClasses, 3, batch), 1.0);
  EXPECT_EQ(value_of("f1", Task::kClasses, 3, batch), 1.0);
}

TEST(Metrics, EqualScores) {
  const std::vector<float> logits = {1, 1, 1, 1, 1, 1, 3, 1, 1};
  const std::vector<std::int32_t> labels = {0, 2, 2};
  const MetricBatch batch{.samples = 3, .outputs = logits, .labels = labels};
  EXPECT_DOUBLE_EQ(value_of("accuracy", Task::kClasses, 3, batch), 1.0 / 3.0);
  EXPECT_DOUBLE_EQ(value_of("top_1", Task::kClasses, 3, batch), 2.0 / 3.0);
  EXPECT_DOUBLE_EQ(value_of("top_2", Task::kClasses, 3, batch), 1.0);
}

TEST(Metrics, AScoreThatIsNotFiniteIsNotAmongTheTop) {
  const std::vector<float> logits = {std::nanf(""), 0};
  const std::vector<std::int32_t> labels = {0};
  const MetricBatch batch{.samples = 1, .outputs = logits, .labels = labels};
  EXPECT_EQ(value_of("top_2", Task::kClasses, 2, batch), 0.0);
}

TEST(Metrics, PerplexityOfUniformAndOfLargeLogits) {
  const std::vector<float> uniform = {7, 7, 7, 7};
  const std::vector<std::int32_t> label = {3};
  EXPECT_NEAR(value_of("perplexity", Task::kClasses, 4,
                       {.samples = 1, .outputs = uniform, .labels = label}),
              4.0, kClose);
  // -log p: log(1 + e^-1) for class 0 and 1e4 for a class that is far below.
  const std::vector<float> logits = {1, 0, 1e4f, 0};
  const std::vector<std::int32_t> labels = {0, 0};
  EXPECT_NEAR(value_of("perplexity", Task::kClasses, 2,
                       {.samples = 2, .outputs = logits, .labels = labels}),
              std::exp(std::log1p(std::exp(-1.0)) / 2), kClose);
}

TEST(Metrics, SequencesCountEveryPosition) {
  // Two samples of two positions and two classes; predictions 0 1 1 1.
  const std::vector<float> logits = {1, 0, 0, 1, 0, 1, 0, 1};
  const std::vector<std::int32_t> labels = {0, 1, 0, 1};
  const std::vector<float> weights = {1, 3};
  const MetricBatch batch{.samples = 2, .outputs = logits, .labels = labels, .weights = weights};
  EXPECT_DOUBLE_EQ(value_of("accuracy", Task::kClasses, 2, batch), 5.0 / 8.0);
}

TEST(Metrics, YesNoTargetsMayBeIntegers) {
  const std::vector<float> logits = {-1, 3, 2};
  const std::vector<std::int32_t> labels = {1, 0, 1};
  const MetricBatch batch{.samples = 3, .outputs = logits, .labels = labels};
  EXPECT_DOUBLE_EQ(value_of("accuracy", Task::kBinary, 1, batch), 1.0 / 3.0);
  EXPECT_DOUBLE_EQ(value_of("auc", Task::kBinary, 1, batch), 0.0);
}

// Scores -1, -1, 2, 0.5, 2 for the classes 0, 1, 1, 0, 0.
struct YesNo {
  std::vector<float> logits = {-1, -1, 2, 0.5f, 2};
  std::vector<float> targets = {0, 1, 1, 0, 0};
  MetricBatch batch() const { return {.samples = 5, .outputs = logits, .targets = targets}; }
};

TEST(Metrics, YesNoByHand) {
  const YesNo data;
  const MetricBatch batch = data.batch();
  EXPECT_DOUBLE_EQ(value_of("accuracy", Task::kBinary, 1, batch), 2.0 / 5.0);
  EXPECT_DOUBLE_EQ(value_of("precision", Task::kBinary, 1, batch), 1.0 / 3.0);
  EXPECT_DOUBLE_EQ(value_of("recall", Task::kBinary, 1, batch), 1.0 / 2.0);
  EXPECT_DOUBLE_EQ(value_of("f1", Task::kBinary, 1, batch), 2.0 / 5.0);
  EXPECT_EQ(values_of("confusion_matrix", Task::kBinary, 1, batch),
            (std::vector<double>{1, 2, 1, 1}));
  // Pairs of class 1 against class 0: -1 against {-1, 0.5, 2}: 0.5; 2 against the same: 1 + 1 +
  // 0.5.
  EXPECT_DOUBLE_EQ(value_of("auc", Task::kBinary, 1, batch), 3.0 / 6.0);
}

TEST(Metrics, AreaUnderTheCurve) {
  // The example of scikit-learn's documentation.
  const std::vector<float> scores = {0.1f, 0.4f, 0.35f, 0.8f};
  const std::vector<float> targets = {0, 0, 1, 1};
  const MetricBatch batch{.samples = 4, .outputs = scores, .targets = targets};
  EXPECT_DOUBLE_EQ(value_of("auc", Task::kBinary, 1, batch), 0.75);
  const std::vector<float> equal = {1, 1, 1, 1};
  EXPECT_DOUBLE_EQ(
      value_of("auc", Task::kBinary, 1, {.samples = 4, .outputs = equal, .targets = targets}), 0.5);
  const std::vector<float> one_class = {1, 1, 1, 1};
  EXPECT_TRUE(std::isnan(
      value_of("auc", Task::kBinary, 1, {.samples = 4, .outputs = scores, .targets = one_class})));
  const std::vector<float> not_a_number = {0.1f, std::nanf(""), 0.35f, 0.8f};
  EXPECT_TRUE(std::isnan(value_of("auc", Task::kBinary, 1,
                                  {.samples = 4, .outputs = not_a_number, .targets = targets})));
  // The weight of the misplaced pair (0.35 below 0.4) is 3 * 2 of (1 + 3) * (2 + 1).
  const std::vector<float> weights = {1, 3, 2, 1};
  EXPECT_DOUBLE_EQ(
      value_of("auc", Task::kBinary, 1,
               {.samples = 4, .outputs = scores, .targets = targets, .weights = weights}),
      0.5);
  // Two classes: the score is the difference of the logits.
  const std::vector<float> logits = {0, 0.1f, 1, 1.4f, 0, 0.35f, 5, 5.8f};
  const std::vector<std::int32_t> labels = {0, 0, 1, 1};
  EXPECT_DOUBLE_EQ(
      value_of("auc", Task::kClasses, 2, {.samples = 4, .outputs = logits, .labels = labels}),
      0.75);
}

TEST(Metrics, NothingPredictedGivesZeroAndNoSamplesGiveNaN) {
  const std::vector<float> logits = {-1, -1};
  const std::vector<float> targets = {1, 0};
  const MetricBatch batch{.samples = 2, .outputs = logits, .targets = targets};
  EXPECT_EQ(value_of("precision", Task::kBinary, 1, batch), 0.0);
  EXPECT_EQ(value_of("recall", Task::kBinary, 1, batch), 0.0);
  EXPECT_EQ(value_of("f1", Task::kBinary, 1, batch), 0.0);
  for (const char* name : {"accuracy", "precision", "recall", "f1", "auc", "loss"}) {
    EXPECT_TRUE(std::isnan(value_of(name, Task::kBinary, 1, {}))) << name;
  }
  for (const char* name : {"mae", "rmse", "r2"}) {
    EXPECT_TRUE(std::isnan(value_of(name, Task::kRegression, 1, {}))) << name;
  }
  EXPECT_TRUE(std::isnan(value_of("perplexity", Task::kClasses, 3, {})));
}

TEST(Metrics, SeveralYesNoOutputs) {
  // Columns: predictions (1 0 1), (0 1 1); targets (1 0 0), (1 1 1).
  const std::vector<float> logits = {1, -1, -1, 1, 1, 1};
  const std::vector<float> targets = {1, 1, 0, 1, 0, 1};
  const MetricBatch batch{.samples = 3, .outputs = logits, .targets = targets};
  EXPECT_DOUBLE_EQ(value_of("accuracy", Task::kBinary, 2, batch), 4.0 / 6.0);
  EXPECT_DOUBLE_EQ(value_of("precision", Task::kBinary, 2, batch), (0.5 + 1.0) / 2);
  EXPECT_DOUBLE_EQ(value_of("recall", Task::kBinary, 2, batch), (1.0 + 2.0 / 3.0) / 2);
}

TEST(Metrics, ValuesByHand) {
  // The examples of scikit-learn's documentation.
  const std::vector<float> outputs = {2.5f, 0.0f, 2.0f, 8.0f};
  const std::vector<float> targets = {3.0f, -0.5f, 2.0f, 7.0f};
  const MetricBatch batch{.samples = 4, .outputs = outputs, .targets = targets};
  EXPECT_NEAR(value_of("mae", Task::kRegression, 1, batch), 0.5, kClose);
  EXPECT_NEAR(value_of("rmse", Task::kRegression, 1, batch), 0.6123724356957945, kClose);
  EXPECT_NEAR(value_of("r2", Task::kRegression, 1, batch), 0.9486081370449679, kClose);

  const std::vector<float> outputs2 = {0, 2, -1, 2, 8, -5};
  const std::vector<float> targets2 = {0.5f, 1, -1, 1, 7, -6};
  EXPECT_NEAR(value_of("r2", Task::kRegression, 2,
                       {.samples = 3, .outputs = outputs2, .targets = targets2}),
              (0.9654377880184332 + 0.9081632653061225) / 2, kClose);
}

TEST(Metrics, R2OfConstantTargetsAndOfOneSample) {
  const std::vector<float> constant = {0.1f, 0.1f, 0.1f};
  const std::vector<float> other = {0.1f, 0.1f, 0.2f};
  EXPECT_EQ(value_of("r2", Task::kRegression, 1,
                     {.samples = 3, .outputs = constant, .targets = constant}),
            1.0);
  EXPECT_EQ(
      value_of("r2", Task::kRegression, 1, {.samples = 3, .outputs = other, .targets = constant}),
      0.0);
  EXPECT_TRUE(std::isnan(value_of("r2", Task::kRegression, 1,
                                  {.samples = 1,
                                   .outputs = std::span(constant).first(1),
                                   .targets = std::span(other).first(1)})));
}

TEST(Metrics, WeightsCountAsRepeatedSamples) {
  const Classes once;
  Classes repeated;
  repeated.logits.insert(repeated.logits.end(), once.logits.begin(), once.logits.begin() + 3);
  repeated.labels.push_back(once.labels[0]);
  const std::vector<float> weights = {2, 1, 1, 1, 1};
  MetricBatch weighted = once.batch();
  weighted.weights = weights;
  MetricBatch copies = repeated.batch();
  copies.samples = 6;
  for (const char* name : {"accuracy", "top_2", "precision", "recall", "f1", "perplexity"}) {
    EXPECT_NEAR(value_of(name, Task::kClasses, 3, weighted),
                value_of(name, Task::kClasses, 3, copies), kClose)
        << name;
  }
  const std::vector<float> outputs = {1, 4, 2}, targets = {2, 2, 5};
  const std::vector<float> outputs_twice = {1, 4, 2, 2}, targets_twice = {2, 2, 5, 5};
  const std::vector<float> value_weights = {1, 1, 2};
  for (const char* name : {"mae", "rmse", "r2"}) {
    EXPECT_NEAR(
        value_of(name, Task::kRegression, 1,
                 {.samples = 3, .outputs = outputs, .targets = targets, .weights = value_weights}),
        value_of(name, Task::kRegression, 1,
                 {.samples = 4, .outputs = outputs_twice, .targets = targets_twice}),
        kClose)
        << name;
  }
}

// Cutting the samples into batches changes no value beyond rounding, for targets far from zero too.
TEST(Metrics, BatchesMerge) {
  const RandomStream random(7, Purpose::kSynthesize);
  constexpr std::int64_t kSamples = 100, kOutputs = 3;
  std::vector<float> outputs, targets;
  std::vector<std::int32_t> labels;
  for (std::int64_t i = 0; i < kSamples; ++i) {
    labels.push_back(std::int32_t(random.below(kOutputs, 1, std::uint64_t(i))));
    for (std::int64_t j = 0; j < kOutputs; ++j) {
      const auto element = std::uint64_t(i * kOutputs + j);
      targets.push_back(1000.0f + random.uniform(2, 0, element));
      outputs.push_back(targets.back() + 0.1f * random.uniform(3, 0, element));
    }
  }
  const auto merged = [&](const std::string& name, Task task, std::int64_t size) {
    const std::vector<MetricPtr> metrics = make_metrics({name}, task, kOutputs);
    const Metric& metric = *metrics.back();
    std::vector<double> total = metric.empty();
    for (std::int64_t begin = 0; begin < kSamples; begin += size) {
      const auto count = std::size_t(std::min(size, kSamples - begin));
      MetricBatch batch{.samples = std::int64_t(count)};
      batch.outputs = std::span(outputs).subspan(std::size_t(begin * kOutputs), count * kOutputs);
      if (task == Task::kClasses)
        batch.labels = std::span(labels).subspan(std::size_t(begin), count);
      else
        batch.targets = std::span(targets).subspan(std::size_t(begin * kOutputs), count * kOutputs);
      metric.merge(total, metric.measure(batch));
    }
    return metric.value(total).values.at(0);
  };
  for (const char* name : {"accuracy", "top_2", "precision", "recall", "f1", "perplexity"}) {
    EXPECT_NEAR(merged(name, Task::kClasses, 7), merged(name, Task::kClasses, 100), kClose) << name;
  }
  for (const char* name : {"mae", "rmse", "r2"}) {
    EXPECT_NEAR(merged(name, Task::kRegression, 7), merged(name, Task::kRegression, 100), kClose)
        << name;
  }
  EXPECT_GT(merged("r2", Task::kRegression, 7), 0.5);
}

TEST(Metrics, LossIsAlwaysFirst) {
  const std::vector<MetricPtr> metrics = make_metrics({"mae", "loss"}, Task::kRegression, 1);
  ASSERT_EQ(metrics.size(), 2u);
  EXPECT_EQ(metrics[0]->name(), "loss");
  std::vector<double> total = metrics[0]->empty();
  metrics[0]->merge(total, metrics[0]->measure({.samples = 3, .loss = 1.5}));
  metrics[0]->merge(total, metrics[0]->measure({.samples = 1, .loss = 0.5}));
  EXPECT_DOUBLE_EQ(metrics[0]->value(total).values[0], 0.5);
}

TEST(Metrics, RefusesUnknownAndUnsuitableNames) {
  EXPECT_EQ(
      refusal({"acuracy"}, Task::kBinary, 1),
      "metric \"acuracy\" is not known; did you mean \"accuracy\"?; metrics that suit the loss: "
      "accuracy, auc, confusion_matrix, f1, loss, precision, recall");
  EXPECT_EQ(
      refusal({"mae"}, Task::kClasses, 3),
      "metric \"mae\" does not suit a loss of classes (softmax_cross_entropy); metrics that do: "
      "top_K, accuracy, auc, confusion_matrix, f1, loss, perplexity, precision, recall");
  EXPECT_EQ(refusal({"top_5"}, Task::kRegression, 3),
            "metric \"top_5\" does not suit a loss of values (mean_squared_error, "
            "mean_absolute_error); metrics that do: loss, mae, r2, rmse");
  EXPECT_EQ(refusal({"top_4"}, Task::kClasses, 3),
            "metric \"top_4\" needs at least 4 classes, the model computes 3");
  EXPECT_EQ(refusal({"auc"}, Task::kClasses, 3),
            "metric \"auc\" needs 2 classes, the model computes 3");
  EXPECT_EQ(refusal({"auc"}, Task::kBinary, 2),
            "metric \"auc\" needs 1 output, the model computes 2");
  EXPECT_EQ(refusal({"confusion_matrix"}, Task::kBinary, 2),
            "metric \"confusion_matrix\" needs 1 output, the model computes 2");
  for (const char* name : {"top_0", "top_", "top_x", "top_-1"}) {
    EXPECT_NE(refusal({name}, Task::kClasses, 3).find("is not known"), std::string::npos) << name;
  }
}

TEST(Metrics, SayWhichWayIsBetter) {
  for (const char* name : {"loss", "mae", "rmse", "perplexity"}) {
    EXPECT_EQ(better_values(name), Better::kLower) << name;
  }
  for (const char* name : {"accuracy", "auc", "f1", "precision", "r2", "recall", "top_3"}) {
    EXPECT_EQ(better_values(name), Better::kHigher) << name;
  }
  EXPECT_EQ(better_values("confusion_matrix"), Better::kNeither);
  EXPECT_THROW(better_values("acuracy"), Error);
}

TEST(Metrics, DefaultsSuitTheLoss) {
  EXPECT_EQ(default_metrics(task_of_loss("softmax_cross_entropy")),
            std::vector<std::string>{"accuracy"});
  EXPECT_EQ(default_metrics(task_of_loss("binary_cross_entropy")),
            std::vector<std::string>{"accuracy"});
  for (const char* loss : {"mean_squared_error", "mean_absolute_error"}) {
    for (const std::string& name : default_metrics(task_of_loss(loss))) {
      EXPECT_NO_THROW(check_metric(name, task_of_loss(loss)));
    }
  }
}

TEST(Metrics, LabelsOutOfRangeAreRefused) {
  const std::vector<float> logits = {0, 1};
  const std::vector<std::int32_t> labels = {2};
  const std::vector<MetricPtr> metrics = make_metrics({"accuracy"}, Task::kClasses, 2);
  EXPECT_THROW(metrics.back()->measure({.samples = 1, .outputs = logits, .labels = labels}), Error);
}

}  // namespace
}  // namespace lockstep
