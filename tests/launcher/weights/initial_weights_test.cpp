// Trainings that begin with given weights: what is taken over, what begins anew, and what is refused.
#include "launcher/weights/initial_weights.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "launcher/checkpoint/checkpoint_writer.h"
#include "launcher/weights/weights_file.h"
#include "tests/core/temporary_directory.h"
#include "tests/dist/world_of_threads.h"
#include "tests/launcher/message.h"
#include "tests/launcher/small_training.h"

namespace lockstep::testing {
namespace {

std::string toml(const std::string& train, const std::string& layers) {
  return text("[data]\ntrain = \"memory\"\nsplit = 0\n[train]\nglobal_batch = 16\nloss = \"softmax_cross_entropy\"\n",
              train, "\n", layers);
}

// The model with another last layer.
std::string with_head(std::string model, const std::string& name, int units) {
  const std::size_t at = model.rfind("name = \"head\"");
  return model.substr(0, at) + text("name = \"", name, "\"\nunits = ", units, "\n");
}

Weights weights_of(Training& training) {
  Weights out;
  for (const auto& tensors : {training.parameters(), training.statistics()}) {
    for (const NamedTensor& tensor : tensors) {
      out[tensor.name] = {tensor.shape, {tensor.values.begin(), tensor.values.end()}};
    }
  }
  return out;
}

class InitialWeightsTest : public ::testing::Test {
 protected:
  // Trains the residual network, which has statistics, on two workers, and leaves a checkpoint. Returns its weights.
  Weights train_and_save(int steps = 2) const {
    Weights weights;
    run_world(2, [&](std::unique_ptr<Communicator> communicator) {
      const bool first = communicator->rank() == 0;
      SmallTraining training(toml("", layers_of("residual")), hashed_images(64), std::move(communicator));
      for (int step = 0; step < steps; ++step) training->run_step();
      CheckpointWriter writer(*training, {.directory = checkpoints()});
      writer.begin({});
      EXPECT_EQ(writer.finish().error, "");
      if (first) weights = weights_of(*training);
    });
    return weights;
  }
  std::string run() const { return place_.path("run"); }
  std::string checkpoints() const { return place_.path("run/checkpoints"); }

  static std::string from(const std::string& path, const std::string& more = "") {
    return text("initial_weights = { from = \"", path, "\"", more, " }");
  }

  TemporaryDirectory place_;
};

TEST_F(InitialWeightsTest, RunsCheckpointsAndFilesGiveTheSame) {
  const Weights trained = train_and_save();
  const std::string safetensors = place_.path("trained.safetensors"), hdf5 = place_.path("trained.h5");
  write_weights(safetensors, WeightsFormat::kSafetensors, trained);
  write_weights(hdf5, WeightsFormat::kHdf5, trained);
  for (const std::string& path : {run(), checkpoints() + "/step-00000002", safetensors, hdf5}) {
    SmallTraining training(toml(from(path), layers_of("residual")), hashed_images(64));
    EXPECT_NE(weights_of(*training), trained);
    const BegunWeights begun = begin_with_initial_weights(*training);
    EXPECT_EQ(weights_of(*training), trained) << path;
    EXPECT_EQ(begun.tensors, trained.size());
    EXPECT_TRUE(begun.fresh.empty());
    EXPECT_EQ(training->step(), 0);
  }
}

TEST_F(InitialWeightsTest, OneOfSeveralCheckpoints) {
  const Weights after_one = train_and_save(1), after_two = train_and_save(2);
  const auto begun_with = [&](const std::string& which) {
    SmallTraining training(toml(from(run(), which), layers_of("residual")), hashed_images(64));
    begin_with_initial_weights(*training);
    return weights_of(*training);
  };
  EXPECT_EQ(begun_with(""), after_two);
  EXPECT_EQ(begun_with(", checkpoint = \"1\""), after_one);
}

// A head of another name and another number of classes; the rest is taken over, and what is left out is as it was.
TEST_F(InitialWeightsTest, AnotherHeadBeginsAnew) {
  const Weights trained = train_and_save();
  for (const std::string name : {"head", "answer"}) {
    const std::string layers = with_head(layers_of("residual"), name, 4);
    const std::string except = ", except = [\"head\", \"answer\"]";
    SmallTraining training(toml(from(run(), name == "head" ? ", except = \"head\"" : except), layers),
                           hashed_images(64, 4));
    Weights fresh = weights_of(*training);
    const BegunWeights begun = begin_with_initial_weights(*training);
    EXPECT_EQ(begun.fresh, std::vector<std::string>{name});
    EXPECT_EQ(begun.tensors, trained.size() - 2);
    EXPECT_EQ(to_string(begun), text(trained.size() - 2, " tensors of ", checkpoints(), "/step-00000002; anew: ", name));
    for (const auto& [tensor, weight] : weights_of(*training)) {
      EXPECT_EQ(weight, tensor.starts_with(name + "/") ? fresh.at(tensor) : trained.at(tensor)) << tensor;
    }
    training->run_step();
  }
}

// Begun, frozen and trained on: the same bits on any number of workers.
TEST_F(InitialWeightsTest, HasTheSameBitsOnAnyNumberOfWorkers) {
  train_and_save();
  const std::string config =
      toml(from(run(), ", except = \"head\"") + "\nfreeze = [\"stem\", \"batch_normalization\"]",
           with_head(layers_of("residual"), "head", 4));
  std::string alone;
  for (const int world : {1, 2, 3, 5}) {
    run_world(world, [&](std::unique_ptr<Communicator> communicator) {
      const bool first = communicator->rank() == 0;
      SmallTraining training(config, hashed_images(64, 4), std::move(communicator));
      begin_with_initial_weights(*training);
      for (int step = 0; step < 4; ++step) training->run_step();
      training->check_replicas();
      if (!first) return;
      if (alone.empty()) alone = training->parameters_sha256();
      EXPECT_EQ(training->parameters_sha256(), alone) << world << " workers";
    });
  }
}

TEST_F(InitialWeightsTest, RefusesWhatDoesNotFitAndSaysWhichLayers) {
  train_and_save();
  const auto refusal = [&](const std::string& layers, const std::string& more) {
    SmallTraining training(toml(from(run(), more), layers), hashed_images(64, 4));
    const Weights before = weights_of(*training);
    const std::string message = refused([&] { begin_with_initial_weights(*training); });
    EXPECT_EQ(weights_of(*training), before);
    return message;
  };
  const std::string path = checkpoints() + "/step-00000002";
  EXPECT_EQ(refusal(with_head(layers_of("residual"), "head", 4), ""),
            path + ": does not fit the model; of another shape: head/bias (10) (the model's is (4)), head/weight (8, 10) "
                   "(the model's is (8, 4)); to begin without these layers, add to train.initial_weights.except: \"head\"");
  EXPECT_EQ(refusal(with_head(layers_of("residual"), "answer", 10), ""),
            path + ": does not fit the model; missing: answer/bias (10), answer/weight (8, 10); not in the model: "
                   "head/bias (10), head/weight (8, 10); to begin without these layers, add to "
                   "train.initial_weights.except: \"answer\", \"head\"");
  EXPECT_EQ(refusal(layers_of("residual"), ", except = [\"haed\"]"),
            "train.initial_weights.except: \"haed\" is a layer with weights neither in the model nor there; did you mean "
            "\"head\"?");
  EXPECT_NE(refusal(layers_of("residual"), ", except = \"*\"").find("leaves out every layer"), std::string::npos);
  // Another network altogether: some names, not all.
  EXPECT_NE(refusal(layers_of("mlp"), "").find(" more; to begin without these layers"), std::string::npos);
}

TEST_F(InitialWeightsTest, RefusesWhatIsNotThere) {
  train_and_save();
  const auto refusal = [&](const std::string& path, const std::string& more = "") {
    SmallTraining training(toml(from(path, more), layers_of("residual")), hashed_images(64));
    return refused([&] { begin_with_initial_weights(*training); });
  };
  EXPECT_EQ(refusal("nowhere"), "nowhere: there is no such file or directory");
  EXPECT_NE(refusal(checkpoints()).find("is neither a checkpoint nor a run"), std::string::npos);
  EXPECT_NE(refusal(checkpoints() + "/step-00000002", ", checkpoint = \"best\"").find("is no run"), std::string::npos);
  EXPECT_NE(refusal(run(), ", checkpoint = \"best\"").find("has no best checkpoint"), std::string::npos);
  EXPECT_NE(refusal(run(), ", checkpoint = \"7\"").find("has no checkpoint of step 7"), std::string::npos);
  EXPECT_NE(refusal(checkpoints() + "/step-00000002/part-0000.h5").find("does not fit the model"), std::string::npos);
  // A checkpoint of which a byte has changed.
  const std::string part = checkpoints() + "/step-00000002/part-0001.h5";
  std::string bytes = local_files().read(part);
  bytes[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] ^ 1);
  local_files().write_atomic(part, bytes);
  EXPECT_NE(refusal(run()).find("part-0001.h5"), std::string::npos);
}

}  // namespace
}  // namespace lockstep::testing
