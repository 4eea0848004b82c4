// Training on a device that queues work: steps launched ahead, and recordings, change no bit; a step that is not finite
// leaves the state before it, whatever was launched meanwhile. (On the CPU the same calls, one after another.)
#include <gtest/gtest.h>

#include <cmath>

#include "tests/launcher/small_training.h"

namespace lockstep::testing {
namespace {

std::string toml_of(const std::string& model) {
  return text("[data]\ntrain = \"memory\"\nsplit = 0\n[train]\nepochs = 3\nglobal_batch = 19\nlearning_rate = 0.003\n",
              "loss = \"softmax_cross_entropy\"\n", layers_of(model));
}

struct Outcome {
  std::vector<float> losses;
  std::string parameters;
  bool operator==(const Outcome&) const = default;
};

Outcome one_after_another(const std::string& model, bool recordings) {
  SmallTraining training(toml_of(model), hashed_images(83));
  training->use_recordings(recordings);
  Outcome out;
  while (training->step() < training->total_steps()) out.losses.push_back(training->run_step().loss);
  out.parameters = training->parameters_sha256();
  return out;
}

Outcome ahead(const std::string& model) {
  SmallTraining training(toml_of(model), hashed_images(83));
  Outcome out;
  while (training->next_step() <= training->total_steps()) {
    training->begin_step();
    while (training->steps_under_way() > training->steps_ahead()) out.losses.push_back(training->finish_step().loss);
  }
  while (training->steps_under_way() > 0) out.losses.push_back(training->finish_step().loss);
  out.parameters = training->parameters_sha256();
  return out;
}

TEST(QueuedTraining, RecordingsAndStepsAheadChangeNoBit) {
  for (const std::string model : {"mlp", "everything"}) {
    const Outcome expected = one_after_another(model, false);
    EXPECT_EQ(expected.losses.size(), 15u);
    EXPECT_LT(expected.losses.back(), expected.losses.front());
    EXPECT_EQ(one_after_another(model, true), expected) << model;
    EXPECT_EQ(ahead(model), expected) << model;
  }
}

// Each step of a traced run is launched and waited for by itself.
TEST(QueuedTraining, ATraceChangesNoBitAndHasEveryStep) {
  const Outcome expected = one_after_another("everything", false);
  Trace trace(1, 4);
  SmallTraining training(toml_of("everything"), hashed_images(83));
  training->trace_to(&trace);
  Outcome found;
  while (training->step() < training->total_steps()) {
    trace.begin_step(training->next_step());
    found.losses.push_back(training->run_step().loss);
  }
  found.parameters = training->parameters_sha256();
  EXPECT_EQ(found, expected);
  const std::string events = trace.to_events(0, "a worker", 0);
  for (const Step& step : training->training_plan().steps) {
    std::size_t times = 0;
    const std::string name = text('"', step.name, '"');
    for (std::size_t at = events.find(name); at != std::string::npos; at = events.find(name, at + 1)) ++times;
    EXPECT_GE(times, 4u) << step.name;
  }
}

TEST(QueuedTraining, AStepThatIsNotFiniteIsForgottenWithWhatFollows) {
  SmallTraining training(toml_of("everything"), hashed_images(83)), undisturbed(toml_of("everything"), hashed_images(83));
  for (int step = 0; step < 4; ++step) {
    training->run_step();
    undisturbed->run_step();
  }
  const std::string before = undisturbed->parameters_sha256();
  training->spoil_next_batch();
  training->begin_step();
  if (training->steps_ahead() > 0) training->begin_step();  // of a good batch
  const StepResult result = training->finish_step();
  EXPECT_FALSE(std::isfinite(result.loss) && std::isfinite(result.gradient_norm));
  EXPECT_EQ(training->steps_under_way(), 0);
  EXPECT_EQ(training->step(), 4);
  EXPECT_EQ(training->parameters_sha256(), before);
  for (const NamedTensor& tensor : training->statistics()) {
    for (const float value : tensor.values) EXPECT_TRUE(std::isfinite(value)) << tensor.name;
  }
  EXPECT_NE(training->find_not_finite(), "");
}

TEST(QueuedTraining, EvaluationSeesTheParametersOfTheLastStep) {
  SmallTraining training(toml_of("mlp"), hashed_images(83));
  double last = std::nan("");
  for (int step = 0; step < 6; ++step) {
    training->run_step();
    for (const MetricValue& metric : training->evaluate(training->data().train)) {
      if (metric.name != "loss") continue;
      EXPECT_NE(metric.values.at(0), last);
      last = metric.values.at(0);
    }
  }
  EXPECT_TRUE(std::isfinite(last));
}

}  // namespace
}  // namespace lockstep::testing
