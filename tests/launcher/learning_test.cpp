// What is learnt: least squares to its closed form, logistic regression, XOR, digits.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "launcher/fit.h"
#include "launcher/trainer.h"
#include "tests/launcher/small_training.h"

namespace lockstep {
namespace {

class Silent final : public FitObserver {
 public:
  void on_step(std::int64_t, std::int64_t, const StepResult&) override {}
  void on_evaluation(const Evaluation& evaluation) override { last = scalar_metrics(evaluation.metrics); }
  void on_checkpoint(std::int64_t, double) override {}
  std::map<std::string, double> last;
};

// Trains an example of the repository as its configuration says; returns the last evaluation.
std::map<std::string, double> train_example(const std::string& name, Config& config, RunData& data,
                                            std::unique_ptr<Worker>& worker,
                                            std::unique_ptr<Training>& training) {
  config = load_config(std::string(LOCKSTEP_SOURCE_DIR) + "/examples/" + name + ".toml", {});
  worker = std::make_unique<Worker>(make_single_communicator(), 1);
  data = open_run_data(config, worker->communicator());
  training = std::make_unique<Training>(*worker, config, data, PipelineOptions{});
  training->initialize();
  Silent observer;
  fit(*training, {}, observer);
  return observer.last;
}

// Solves a x = b for a symmetric positive definite matrix, row-major n x n, by Cholesky decomposition.
std::vector<double> solve(std::vector<double> a, std::vector<double> b) {
  const std::size_t n = b.size();
  for (std::size_t j = 0; j < n; ++j) {
    for (std::size_t k = 0; k < j; ++k) a[j * n + j] -= a[j * n + k] * a[j * n + k];
    a[j * n + j] = std::sqrt(a[j * n + j]);
    for (std::size_t i = j + 1; i < n; ++i) {
      for (std::size_t k = 0; k < j; ++k) a[i * n + j] -= a[i * n + k] * a[j * n + k];
      a[i * n + j] /= a[j * n + j];
    }
  }
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t k = 0; k < i; ++k) b[i] -= a[i * n + k] * b[k];
    b[i] /= a[i * n + i];
  }
  for (std::size_t i = n; i-- > 0;) {
    for (std::size_t k = i + 1; k < n; ++k) b[i] -= a[k * n + i] * b[k];
    b[i] /= a[i * n + i];
  }
  return b;
}

// The smallest mean squared error that a linear function of the features reaches on the samples of a loader.
double least_squares_loss(const Loader& loader, std::int64_t features) {
  const std::int64_t n = features + 1;
  std::vector<float> x(loader.size() * features), y(loader.size());
  Loader::Scratch scratch;
  loader.fill(0, 0, {0, loader.size()}, {.inputs = {x.data()}, .target = y.data()}, scratch);
  auto feature = [&](std::int64_t i, std::int64_t j) { return j < features ? double{x[i * features + j]} : 1.0; };
  std::vector<double> a(n * n, 0), b(n, 0);
  for (std::int64_t i = 0; i < loader.size(); ++i) {
    for (std::int64_t j = 0; j < n; ++j) {
      b[j] += feature(i, j) * y[i];
      for (std::int64_t k = 0; k < n; ++k) a[j * n + k] += feature(i, j) * feature(i, k);
    }
  }
  const std::vector<double> w = solve(a, b);
  double loss = 0;
  for (std::int64_t i = 0; i < loader.size(); ++i) {
    double error = -y[i];
    for (std::int64_t j = 0; j < n; ++j) error += w[j] * feature(i, j);
    loss += error * error;
  }
  return loss / static_cast<double>(loader.size());
}

TEST(Learning, LinearRegressionReachesLeastSquares) {
  Config config;
  RunData data;
  std::unique_ptr<Worker> worker;
  std::unique_ptr<Training> training;
  train_example("linear-regression", config, data, worker, training);
  Config all_at_once = config;
  all_at_once.evaluate.batch = data.train.size();
  const double best = least_squares_loss(*make_loader(all_at_once, data, data.train, LoaderUse::kEvaluation), 10);
  const double reached = scalar_metrics(training->evaluate(data.train, {.names = {"loss"}})).at("loss");
  EXPECT_GE(reached, best * (1 - 1e-6));
  EXPECT_LE(reached, best * (1 + 1e-3));
}

TEST(Learning, LogisticRegressionOnBreastCancer) {
  Config config;
  RunData data;
  std::unique_ptr<Worker> worker;
  std::unique_ptr<Training> training;
  const auto scores = train_example("logistic-regression", config, data, worker, training);
  EXPECT_GE(scores.at("accuracy"), 0.96);
}

TEST(Learning, ConvolutionalNetworkReadsDigits) {
  Config config;
  RunData data;
  std::unique_ptr<Worker> worker;
  std::unique_ptr<Training> training;
  const auto scores = train_example("digits-cnn", config, data, worker, training);
  EXPECT_GE(scores.at("accuracy"), 0.98);
}

TEST(Learning, XorWithOneHiddenLayer) {
  std::vector<float> x = {0, 0, 0, 1, 1, 0, 1, 1}, y = {0, 1, 1, 0};
  std::vector<std::byte> x_bytes(32), y_bytes(16);
  std::memcpy(x_bytes.data(), x.data(), 32);
  std::memcpy(y_bytes.data(), y.data(), 16);
  const auto data = Dataset::from_memory(
      "xor", {{"x", DType::kF32, {4, 2}, x_bytes}, {"y", DType::kF32, {4, 1}, y_bytes}});
  testing::SmallTraining training(
      "[data]\ntrain = \"memory\"\nsplit = 0\n[train]\nepochs = 800\nglobal_batch = 4\nlearning_rate = 0.05\n"
      "loss = \"binary_cross_entropy\"\n[[layer]]\ntype = \"dense\"\nunits = 8\nactivation = \"tanh\"\n"
      "[[layer]]\ntype = \"dense\"\nunits = 1\n",
      data);
  Silent observer;
  fit(*training, {}, observer);
  const auto scores = scalar_metrics(training->evaluate(training->data().train, {.names = {"loss", "accuracy"}}));
  EXPECT_EQ(scores.at("accuracy"), 1.0);
  EXPECT_LT(scores.at("loss"), 0.05);
}

}  // namespace
}  // namespace lockstep
