// Frozen layers: they keep every bit, and cost neither gradient nor exchange nor moments.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "launcher/checkpoint/checkpoint_writer.h"
#include "launcher/checkpoint/resume.h"
#include "launcher/checkpoint/stored_checkpoint.h"
#include "tests/core/temporary_directory.h"
#include "tests/dist/world_of_threads.h"
#include "tests/launcher/message.h"
#include "tests/launcher/small_training.h"

namespace lockstep::testing {
namespace {

std::string toml(const std::string& model, const std::string& freeze, const std::string& train) {
  return text("[data]\ntrain = \"memory\"\nsplit = 0\n[train]\nglobal_batch = 16\n",
              "loss = \"softmax_cross_entropy\"\nfreeze = ", freeze, "\n", train, "\n", layers_of(model));
}

using Values = std::map<std::string, std::vector<float>>;

Values values_of(const std::vector<NamedTensor>& tensors) {
  Values out;
  for (const NamedTensor& tensor : tensors) out[tensor.name].assign(tensor.values.begin(), tensor.values.end());
  return out;
}

bool is_of(const std::string& name, const std::vector<std::string>& layers) {
  return std::ranges::any_of(layers, [&](const std::string& layer) { return name.starts_with(layer + "/"); });
}

void expect_changed_only_outside(const Values& before, const Values& after, const std::vector<std::string>& layers) {
  for (const auto& [name, values] : before) {
    EXPECT_EQ(after.at(name) == values, is_of(name, layers)) << name;
  }
}

// With weight decay, which would move them without any gradient.
TEST(Freeze, FrozenLayersKeepEveryBit) {
  const std::vector<std::string> frozen = {"conv2d", "batch_normalization", "dense"};
  for (const int world : {1, 3}) {
    run_world(world, [&](std::unique_ptr<Communicator> communicator) {
      SmallTraining training(
          toml("everything", R"(["conv2d", "batch_normalization", "dense"])",
               "[train.optimizer]\ntype = \"adamw\"\nweight_decay = 0.5"),
          hashed_images(64), std::move(communicator));
      const Values parameters = values_of(training->parameters()), statistics = values_of(training->statistics());
      EXPECT_EQ(parameters.size(), 12u);
      EXPECT_EQ(statistics.size(), 2u);
      for (int step = 0; step < 4; ++step) training->run_step();
      expect_changed_only_outside(parameters, values_of(training->parameters()), frozen);
      expect_changed_only_outside(statistics, values_of(training->statistics()), frozen);
      for (const TensorSlice& moment : training->moments()) {
        EXPECT_FALSE(is_of(moment.name.substr(moment.name.find('/') + 1), frozen)) << moment.name;
      }
      training->check_replicas();
    }, 60);
  }
}

TEST(Freeze, StatisticsMoveWhereTheirLayerIsTrained) {
  SmallTraining training(toml("everything", R"(["conv2d"])", ""), hashed_images(64));
  const Values statistics = values_of(training->statistics());
  training->run_step();
  expect_changed_only_outside(statistics, values_of(training->statistics()), {});
}

std::vector<std::string> backward_steps(SmallTraining& training) {
  std::vector<std::string> out;
  for (const Step& step : training->training_plan().steps) {
    if (step.phase == Phase::kBackward) out.push_back(step.name);
  }
  return out;
}

bool any_contains(const std::vector<std::string>& names, const std::string& part) {
  return std::ranges::any_of(names, [&](const std::string& name) { return name.find(part) != std::string::npos; });
}

// Nobody needs a gradient below the lowest layer that is trained.
TEST(Freeze, TheBackwardPassEndsAtTheLowestTrainedLayer) {
  SmallTraining whole(toml("cnn", "[]", ""), hashed_images(64));
  SmallTraining head(toml("cnn", R"(["conv*"])", ""), hashed_images(64));
  for (const char* layer : {"conv1", "conv2", "head"}) {
    EXPECT_TRUE(any_contains(backward_steps(whole), layer)) << layer;
  }
  for (const char* layer : {"conv1", "conv2", "max_pooling2d", "flatten"}) {
    EXPECT_FALSE(any_contains(backward_steps(head), layer)) << layer;
  }
  EXPECT_TRUE(any_contains(backward_steps(head), "head"));
  EXPECT_LT(head->training_plan().flops(), 0.5 * whole->training_plan().flops());
}

// The weight's gradient of a layer between trained ones is left out, that of its input is not.
TEST(Freeze, GradientsPassThroughAFrozenLayer) {
  SmallTraining training(toml("cnn", R"(["conv2"])", "optimizer = \"sgd\""), hashed_images(64));
  const Values before = values_of(training->parameters());
  training->run_step();
  expect_changed_only_outside(before, values_of(training->parameters()), {"conv2"});
}

// One step of plain gradient descent at rate 1 moves the parameters by the gradient.
TEST(Freeze, TheGradientNormIsOfWhatIsTrained) {
  SmallTraining training(toml("mlp", R"(["hidden"])", "optimizer = \"sgd\"\nlearning_rate = 1.0"), hashed_images(64));
  const Values before = values_of(training->parameters());
  const StepResult result = training->run_step();
  double squares = 0;
  for (const auto& [name, values] : values_of(training->parameters())) {
    for (std::size_t i = 0; i < values.size(); ++i) squares += std::pow(double(values[i]) - before.at(name)[i], 2);
  }
  EXPECT_NEAR(result.gradient_norm, std::sqrt(squares), 1e-5 * result.gradient_norm);
}

// The loss of a training step with frozen batch norms is the one that an evaluation of the same samples finds.
TEST(Freeze, AFrozenBatchNormGoesByItsRunningStatistics) {
  const auto images = hashed_images(16);
  for (const bool frozen : {true, false}) {
    const std::string freeze = frozen ? R"(["batch_normalization*", "branch"])" : "[]";
    SmallTraining training(toml("residual", freeze, ""), images, nullptr, images);
    for (const NamedTensor& tensor : training->statistics()) {
      const auto values = hashed_values(tensor.shape.elements(), salt_of(tensor.name), 0.4);
      for (std::size_t i = 0; i < values.size(); ++i) tensor.values[i] += values[i];
    }
    training->write_back();
    const double evaluated = training->evaluate(training->data().test)[0].values[0];
    const double trained = training->run_step().loss;
    EXPECT_EQ(std::abs(trained - evaluated) < 1e-5, frozen) << trained << " and " << evaluated;
  }
}

// A checkpoint has the frozen tensors, and no moments of them.
TEST(Freeze, GoesOnFromACheckpointOnAnotherNumberOfWorkers) {
  const std::string config = toml("everything", R"(["conv2d", "batch_normalization", "dense"])", "epochs = 4");
  const TemporaryDirectory place;
  const auto train = [&](int world, int steps) {
    std::string sha256;
    run_world(world, [&](std::unique_ptr<Communicator> communicator) {
      const bool first = communicator->rank() == 0;
      SmallTraining training(config, hashed_images(64), std::move(communicator));
      load_newest_checkpoint(*training, place.path("checkpoints"));
      for (int step = 0; step < steps; ++step) training->run_step();
      CheckpointWriter writer(*training, {.directory = place.path("checkpoints")});
      writer.begin({});
      EXPECT_EQ(writer.finish().error, "");
      if (first) sha256 = training->parameters_sha256();
    }, 60);
    return sha256;
  };
  SmallTraining uninterrupted(config, hashed_images(64));
  for (int step = 0; step < 6; ++step) uninterrupted->run_step();
  train(2, 3);
  EXPECT_EQ(train(3, 3), uninterrupted->parameters_sha256());
  const StoredCheckpoint stored = StoredCheckpoint::open(find_checkpoint(place.path("checkpoints"), "newest"));
  EXPECT_TRUE(stored.tensors().contains("parameters/conv2d/weight"));
  EXPECT_TRUE(stored.tensors().contains("statistics/batch_normalization/moving_mean"));
  EXPECT_TRUE(stored.tensors().contains("m/conv2d_1/weight"));
  EXPECT_FALSE(stored.tensors().contains("m/conv2d/weight"));
}

TEST(Freeze, LayersSayItThemselves) {
  SmallTraining training(toml("mlp", "[]", "") + "[[layer]]\ntype = \"dense\"\nname = \"more\"\nunits = 10\ntrainable = false\n",
                         hashed_images(64));
  const Values before = values_of(training->parameters());
  training->run_step();
  expect_changed_only_outside(before, values_of(training->parameters()), {"more"});
}

TEST(Freeze, RefusesToTrainNothing) {
  const auto make = [](const char* freeze) { SmallTraining(toml("mlp", freeze, ""), hashed_images(64)); };
  EXPECT_NE(refused([&] { make(R"("*")"); }).find("every layer with parameters is frozen"), std::string::npos);
  EXPECT_EQ(refused([&] { make(R"(["hiden"])"); }),
            "test.toml:7: train.freeze: no layer is named \"hiden\"; did you mean \"hidden\"?");
}

TEST(Freeze, TheSummarySaysWhatIsFrozen) {
  const Model model = config_from(toml("mlp", R"(["hidden"])", "")).model.with_inputs({{.name = "x", .sample = {8, 8, 1}}});
  EXPECT_NE(model.summary().find("hidden (dense, frozen)"), std::string::npos) << model.summary();
  EXPECT_NE(model.summary().find("head (dense) "), std::string::npos) << model.summary();
  EXPECT_NE(model.summary().find("parameters: 2410 (330 trainable, 2080 frozen)\n"), std::string::npos) << model.summary();
}

}  // namespace
}  // namespace lockstep::testing
