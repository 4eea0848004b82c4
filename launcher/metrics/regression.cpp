// The loss, and metrics of values: mean absolute error, root mean squared error, R2.
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

void check_sizes(const MetricBatch& batch, std::int64_t outputs) {
  require(batch.outputs.size() == batch.targets.size() &&
              std::int64_t(batch.outputs.size()) == batch.samples * outputs,
          "metrics: ", batch.outputs.size(), " values and ", batch.targets.size(), " targets for ",
          batch.samples, " samples of ", outputs);
}

// State: {sum of the samples' losses, number of samples}.
class LossMetric final : public Metric {
 public:
  std::string name() const override { return "loss"; }
  std::vector<double> empty() const override { return {0.0, 0.0}; }
  std::vector<double> measure(const MetricBatch& batch) const override {
    return {batch.loss, double(batch.samples)};
  }
  MetricValue value(std::span<const double> total) const override {
    return {name(), {}, {ratio(total[0], total[1])}};
  }
};

// State: {weighted sum of absolute or squared errors, weight of the elements}.
class MeanError final : public Metric {
 public:
  MeanError(bool squared, std::int64_t outputs) : squared_(squared), outputs_(outputs) {}
  std::string name() const override { return squared_ ? "rmse" : "mae"; }
  std::vector<double> empty() const override { return {0.0, 0.0}; }
  std::vector<double> measure(const MetricBatch& batch) const override {
    check_sizes(batch, outputs_);
    std::vector<double> state = empty();
    for (std::size_t i = 0; i < batch.outputs.size(); ++i) {
      const double weight = weight_of(batch, std::int64_t(i) / outputs_);
      const double error = double(batch.outputs[i]) - double(batch.targets[i]);
      state[0] += weight * (squared_ ? error * error : std::abs(error));
      state[1] += weight;
    }
    return state;
  }
  MetricValue value(std::span<const double> total) const override {
    const double mean = ratio(total[0], total[1]);
    return {name(), {}, {squared_ ? std::sqrt(mean) : mean}};
  }

 private:
  bool squared_;
  std::int64_t outputs_;
};

// State: {samples, weight, then for each output: mean of the targets, sum of their squared
// deviations from it, sum of squared errors}, all weighted. Deviations are merged after T. Chan, G.
// Golub, R. LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances",
// 1979, so large targets lose nothing.
class R2 final : public Metric {
 public:
  explicit R2(std::int64_t outputs) : outputs_(outputs) {}
  std::string name() const override { return "r2"; }
  std::vector<double> empty() const override {
    return std::vector<double>(std::size_t(2 + 3 * outputs_), 0.0);
  }

  std::vector<double> measure(const MetricBatch& batch) const override {
    check_sizes(batch, outputs_);
    std::vector<double> state = empty();
    state[0] = double(batch.samples);
    for (std::int64_t i = 0; i < batch.samples; ++i) state[1] += weight_of(batch, i);
    if (state[1] == 0.0) return state;
    for (std::int64_t column = 0; column < outputs_; ++column) {
      double* column_state = state.data() + 2 + 3 * column;
      double sum = 0.0;
      for (std::int64_t i = 0; i < batch.samples; ++i) {
        sum += weight_of(batch, i) * double(batch.targets[std::size_t(i * outputs_ + column)]);
      }
      column_state[0] = sum / state[1];
      for (std::int64_t i = 0; i < batch.samples; ++i) {
        const auto element = std::size_t(i * outputs_ + column);
        const double target = batch.targets[element];
        const double deviation = target - column_state[0];
        const double error = target - double(batch.outputs[element]);
        column_state[1] += weight_of(batch, i) * deviation * deviation;
        column_state[2] += weight_of(batch, i) * error * error;
      }
    }
    return state;
  }

  void merge(std::vector<double>& total, std::span<const double> later) const override {
    const double before = total[1], added = later[1], together = before + added;
    total[0] += later[0];
    total[1] = together;
    if (added == 0.0) return;
    for (std::size_t i = 2; i + 2 < total.size(); i += 3) {
      const double difference = later[i] - total[i];
      total[i] += difference * (added / together);
      total[i + 1] += later[i + 1] + difference * difference * (before * added / together);
      total[i + 2] += later[i + 2];
    }
  }

  MetricValue value(std::span<const double> total) const override {
    if (total[0] < 2.0 || total[1] == 0.0) return {name(), {}, {kNaN}};
    double sum = 0.0;
    for (std::size_t i = 2; i + 2 < total.size(); i += 3) {
      const double variation = total[i + 1], errors = total[i + 2];
      if (errors == 0.0) {
        sum += 1.0;
      } else if (variation != 0.0) {
        sum += 1.0 - errors / variation;
      }
    }
    return {name(), {}, {sum / double(outputs_)}};
  }

 private:
  std::int64_t outputs_;
};

}  // namespace

MetricPtr make_loss() {
  return std::make_unique<LossMetric>();
}

MetricPtr make_mae(std::int64_t outputs) {
  return std::make_unique<MeanError>(false, outputs);
}

MetricPtr make_rmse(std::int64_t outputs) {
  return std::make_unique<MeanError>(true, outputs);
}

MetricPtr make_r2(std::int64_t outputs) {
  return std::make_unique<R2>(outputs);
}

}  // namespace lockstep
