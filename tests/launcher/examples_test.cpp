// The configurations in examples/, run as a user runs them, and what they must reach.
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <map>

#include "launcher/config.h"
#include "launcher/run_data.h"
#include "launcher/summary.h"
#include "launcher/toml.h"
#include "ops/register.h"
#include "tests/launcher/program_test.h"

namespace lockstep {
namespace {

std::string path_of(const std::string& example) {
  return std::string(LOCKSTEP_SOURCE_DIR) + "/examples/" + example + ".toml";
}

Config read_example(const std::string& toml, const std::string& name) {
  LayerRegistry layers;
  register_layers(layers);
  const std::shared_ptr<Settings> root = parse_toml(toml, name);
  return read_config(*root, layers);
}

class ExampleTest : public ProgramTest {
 protected:
  // Trains the example on one worker and returns what its summary says.
  Summary train(const std::string& example) {
    EXPECT_EQ(run({"train", path_of(example), "--run", "run", "--device", "cpu"}), 0)
        << content_of("../err");
    return read_summary("run/summary.json");
  }
};

double score(const Summary& summary, const std::string& metric) {
  for (const auto& [name, value] : summary.evaluation) {
    if (name == metric) return value;
  }
  ADD_FAILURE() << "no metric " << metric;
  return 0.0;
}

TEST(Examples, ReadBackWhatTheyWrite) {
  int examples = 0;
  for (const auto& entry :
       std::filesystem::directory_iterator(std::string(LOCKSTEP_SOURCE_DIR) + "/examples")) {
    if (entry.path().extension() != ".toml") continue;
    const Config first = read_example(content_of(entry.path()), entry.path().string());
    const Config second = read_example(first.toml, "config.toml");
    EXPECT_EQ(second.toml, first.toml) << entry.path();
    EXPECT_EQ(second.model.layers().size(), first.model.layers().size());
    ++examples;
  }
  EXPECT_GE(examples, 5);
}

// ---- Linear regression against the closed form --------------------------------------------------

// The solution of the symmetric positive definite system a x = b (n by n, row-major), by Cholesky's
// factorisation in place: n^3 / 3 steps.
std::vector<double> solve(std::vector<double> a, std::vector<double> b) {
  const std::size_t n = b.size();
  for (std::size_t j = 0; j < n; ++j) {
    for (std::size_t i = j; i < n; ++i) {
      double sum = a[i * n + j];
      for (std::size_t k = 0; k < j; ++k) sum -= a[i * n + k] * a[j * n + k];
      a[i * n + j] = i == j ? std::sqrt(sum) : sum / a[j * n + j];
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

// The least mean squared error that a linear model reaches on the training part.
double least_squares_loss(const Config& config) {
  const RunData data = open_run_data(config);
  const Dataset& dataset = *data.train.dataset;
  const auto samples = static_cast<std::size_t>(data.train.size());
  const auto features = static_cast<std::size_t>(dataset.array("x").sample.elements());
  std::vector<float> x(samples * features), y(samples);
  dataset.gather(dataset.find("x"), data.train.ids, x.data());
  dataset.gather(dataset.find("y"), data.train.ids, y.data());
  const std::size_t n = features + 1;  // and a constant
  const auto value = [&](std::size_t i, std::size_t j) {
    return j == features ? 1.0 : static_cast<double>(x[i * features + j]);
  };
  std::vector<double> products(n * n), right(n);
  for (std::size_t i = 0; i < samples; ++i) {
    for (std::size_t j = 0; j < n; ++j) {
      for (std::size_t k = 0; k < n; ++k) products[j * n + k] += value(i, j) * value(i, k);
      right[j] += value(i, j) * y[i];
    }
  }
  const std::vector<double> solution = solve(products, right);
  double sum = 0.0;
  for (std::size_t i = 0; i < samples; ++i) {
    double prediction = 0.0;
    for (std::size_t j = 0; j < n; ++j) prediction += solution[j] * value(i, j);
    sum += (prediction - y[i]) * (prediction - y[i]);
  }
  return sum / static_cast<double>(samples);
}

TEST_F(ExampleTest, LinearRegressionReachesTheLeastSquaresSolution) {
  const Summary summary = train("linear-regression");
  const std::string example = path_of("linear-regression");
  const double least = least_squares_loss(read_example(content_of(example), example));
  EXPECT_NEAR(summary.final_loss, least, 1e-3 * least);
  EXPECT_GT(score(summary, "r2"), 0.2);
}

// ---- Classification ---------------------------------------------------------------------------

TEST_F(ExampleTest, LogisticRegressionKnowsTumours) {
  const Summary summary = train("logistic-regression");
  EXPECT_GE(score(summary, "accuracy"), 0.96);
  EXPECT_GE(score(summary, "auc"), 0.98);
}

TEST_F(ExampleTest, DigitsMlp) {
  EXPECT_GE(score(train("digits-mlp"), "accuracy"), 0.97);
}

TEST_F(ExampleTest, DigitsCnn) {
  const Summary summary = train("digits-cnn");
  EXPECT_GE(score(summary, "accuracy"), 0.98);
  EXPECT_GE(score(summary, "top_2"), score(summary, "accuracy"));
}

TEST_F(ExampleTest, DigitsResnet) {
  EXPECT_GE(score(train("digits-resnet"), "accuracy"), 0.98);
}

}  // namespace
}  // namespace lockstep
