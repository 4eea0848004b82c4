// Promise 1: the same bits for any number of workers, any bucket size; and what a step does besides.
#include "launcher/training.h"

#include <gtest/gtest.h>

#include <cmath>
#include <mutex>

#include "tests/dist/world_of_threads.h"
#include "tests/launcher/small_training.h"

namespace lockstep {
namespace {

using testing::run_world;
using testing::SmallTraining;

std::string toml_of(const std::string& model, const std::string& train_keys) {
  return text("[data]\ntrain = \"memory\"\nsplit = 0\n[evaluate]\nbatch = 7\n",
              "metrics = [\"accuracy\", \"top_3\", \"confusion_matrix\"]\n",
              "[train]\nepochs = 3\nglobal_batch = 19\nloss = \"softmax_cross_entropy\"\n", train_keys, "\n",
              testing::layers_of(model));
}

struct Outcome {
  std::string sha256;
  std::vector<float> losses, norms;
  std::vector<double> metrics;
};

// Trains all steps in a world of threads and checks that its ranks agree.
Outcome train(const std::string& toml, int world, std::vector<int> nodes = {}) {
  std::mutex mutex;
  std::vector<Outcome> outcomes;
  run_world(world, [&](std::unique_ptr<Communicator> communicator) {
    // 83 samples: the last batch of an epoch has 7.
    SmallTraining training(toml, testing::hashed_images(83), std::move(communicator));
    Outcome outcome;
    while (training->step() < training->total_steps()) {
      const StepResult result = training->run_step();
      outcome.losses.push_back(result.loss);
      outcome.norms.push_back(result.gradient_norm);
    }
    outcome.sha256 = training->parameters_sha256();
    for (const MetricValue& value : training->evaluate(training->data().train)) {
      outcome.metrics.insert(outcome.metrics.end(), value.values.begin(), value.values.end());
    }
    const std::lock_guard lock(mutex);
    outcomes.push_back(std::move(outcome));
  }, 60, std::move(nodes));
  for (const Outcome& outcome : outcomes) {
    EXPECT_EQ(outcome.sha256, outcomes[0].sha256);
    EXPECT_EQ(outcome.metrics, outcomes[0].metrics);
  }
  return outcomes[0];
}

void expect_equal(const Outcome& outcome, const Outcome& alone, const std::string& where) {
  EXPECT_EQ(outcome.sha256, alone.sha256) << where;
  EXPECT_EQ(outcome.losses, alone.losses) << where;
  EXPECT_EQ(outcome.norms, alone.norms) << where;
  EXPECT_EQ(outcome.metrics, alone.metrics) << where;
}

void expect_equal_bits(const std::string& train_keys, const std::string& model) {
  const Outcome alone = train(toml_of(model, train_keys), 1);
  EXPECT_EQ(alone.losses.size(), 15u);
  EXPECT_LT(alone.losses.back(), alone.losses.front());
  for (const int world : {1, 2, 3, 4, 5, 8}) {
    for (const int bucket_bytes : {1, 2000, 1 << 22}) {
      const std::string keys = text(train_keys, "\nbucket_bytes = ", bucket_bytes);
      expect_equal(train(toml_of(model, keys), world), alone, text(world, " workers, buckets of ", bucket_bytes));
    }
  }
  // Workers that have nothing to do, in every step and in the last of an epoch.
  const std::string eight = train_keys + "\nmicrobatches = 8";
  for (const int world : {9, 11}) expect_equal(train(toml_of(model, eight), world), alone, text(world, " workers for 8 microbatches"));
  // Workers on several nodes, two of them on one; and in no order.
  expect_equal(train(toml_of(model, train_keys), 5, {0, 0, 1, 1, 2}), alone, "three nodes");
  expect_equal(train(toml_of(model, train_keys), 4, {0, 1, 0, 1}), alone, "two nodes in turn");
}

TEST(SameBits, MlpWithAdam) { expect_equal_bits("learning_rate = 0.01", "mlp"); }

TEST(SameBits, CnnWithDropoutNormalisationAndClipping) {
  expect_equal_bits("learning_rate = 0.01\nclip_norm = 0.5", "everything");
}

TEST(SameBits, MomentumAndDecay) {
  expect_equal_bits("learning_rate = 0.02\noptimizer = {type = \"sgd\", momentum = 0.9, weight_decay = 0.01}",
                    "residual");
}

std::string synchronized(std::string toml) {
  const std::string type = "type = \"batch_normalization\"\n";
  for (std::size_t at = toml.find(type); at != std::string::npos; at = toml.find(type, at + 1)) {
    toml.insert(at + type.size(), "synchronized = true\n");
  }
  return toml;
}

TEST(SameBits, NormalisationOverTheWholeBatch) {
  const std::string toml = synchronized(toml_of("everything", "learning_rate = 0.01\nmicrobatches = 8"));
  const Outcome alone = train(toml, 1);
  for (const int world : {1, 2, 3, 4, 5, 8, 11}) {
    for (const int bucket_bytes : {1, 1 << 22}) {
      const std::string keys = text("learning_rate = 0.01\nmicrobatches = 8\nbucket_bytes = ", bucket_bytes);
      const std::string all = synchronized(toml_of("everything", keys));
      expect_equal(train(all, world), alone, text(world, " workers, buckets of ", bucket_bytes));
    }
  }
  expect_equal(train(toml, 5, {0, 0, 1, 1, 2}), alone, "three nodes");
}

// However the batch is cut, it is normalised as one.
TEST(SynchronizedNormalisation, OfManyMicrobatchesIsThatOfOne) {
  std::string model = testing::layers_of("everything");
  const std::string dropout = "[[layer]]\ntype = \"dropout\"\nrate = 0.3\n";
  if (const std::size_t at = model.find(dropout); at != std::string::npos) model.erase(at, dropout.size());
  const auto toml = [&](int microbatches) {
    return text("[data]\ntrain = \"memory\"\nsplit = 0\n[train]\nepochs = 2\nglobal_batch = 19\n",
                "loss = \"softmax_cross_entropy\"\nlearning_rate = 0.001\nmicrobatches = ", microbatches, "\n", model);
  };
  const Outcome whole = train(toml(1), 1), cut = train(synchronized(toml(7)), 1), apart = train(toml(7), 1);
  ASSERT_EQ(cut.losses.size(), whole.losses.size());
  double difference = 0;
  for (std::size_t i = 0; i < whole.losses.size(); ++i) {
    EXPECT_NEAR(cut.losses[i], whole.losses[i], 2e-3 * whole.losses[i]) << "step " << i;
    difference = std::max(difference, std::abs(double{apart.losses[i]} - whole.losses[i]));
  }
  EXPECT_GT(difference, 0.02);  // normalised apart it is another network
}

// The library's own sums: close, and equal on all ranks.
TEST(FastReduction, LearnsTheSameToRounding) {
  const std::string toml = toml_of("mlp", "learning_rate = 0.01\nreduction = \"fast\"");
  const Outcome alone = train(toml, 1);
  for (const int world : {2, 3, 8}) {
    const Outcome outcome = train(toml, world);
    ASSERT_EQ(outcome.losses.size(), alone.losses.size());
    for (std::size_t i = 0; i < alone.losses.size(); ++i) {
      EXPECT_NEAR(outcome.losses[i], alone.losses[i], 1e-4 * alone.losses[i]) << world << " workers";
    }
  }
}

TEST(Training, RemainderOfAnEpochCountsItsOwnSamples) {
  SmallTraining training(toml_of("mlp", "learning_rate = 0.0001"), testing::hashed_images(83));
  EXPECT_EQ(training->steps_per_epoch(), 5);
  std::int64_t samples = 0;
  for (int step = 0; step < 5; ++step) samples += training->run_step().samples;
  EXPECT_EQ(samples, 83);
}

TEST(Training, RefusesNumbersThatAnEmbeddingHasNot) {
  // Labels from 0 to 9, read as words of a vocabulary.
  const auto toml = [](int words) {
    return text("[data]\ntrain = \"memory\"\nsplit = 0\ninputs = [\"y\"]\ntarget = \"y\"\n[train]\nglobal_batch = 19\n",
                "loss = \"softmax_cross_entropy\"\n[[layer]]\ntype = \"embedding\"\noutput_dim = 4\ninput_dim = ", words,
                "\n[[layer]]\ntype = \"flatten\"\n[[layer]]\ntype = \"dense\"\nunits = 10\n");
  };
  SmallTraining fits(toml(10), testing::hashed_images(83));
  EXPECT_TRUE(std::isfinite(fits->run_step().loss));
  try {
    SmallTraining training(toml(9), testing::hashed_images(83));
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kBadInput);
    EXPECT_NE(std::string(error.what()).find("expected a whole number in [0, 9)"), std::string::npos) << error.what();
  }
}

TEST(Training, NotFiniteStepChangesNothingAndNamesTheLayer) {
  SmallTraining training(toml_of("mlp", "learning_rate = 0.01"), testing::hashed_images(83));
  training->run_step();
  for (const NamedTensor& tensor : training->parameters()) {
    if (tensor.name == "head/bias") tensor.values[3] = std::nanf("");
  }
  training->write_back();
  const std::string before = training->parameters_sha256();
  const StepResult result = training->run_step();
  EXPECT_FALSE(std::isfinite(result.loss));
  EXPECT_EQ(training->step(), 1);
  EXPECT_EQ(training->parameters_sha256(), before);
  EXPECT_NE(training->find_not_finite().find("head"), std::string::npos);
}

TEST(Training, PassesThatAreLeftOutChangeLittle) {
  // Without fusion and layouts the same network learns the same, to rounding.
  const std::string toml = toml_of("cnn", "learning_rate = 0.001");
  const auto data = testing::hashed_images(83);
  const Config config = testing::config_from(toml);
  auto losses = [&](std::vector<std::string> disabled) {
    Worker worker(make_single_communicator(), 1);
    const RunData run = run_data_from(config, whole(data), {});
    Training training(worker, config, run, {{}, std::move(disabled), nullptr});
    training.initialize();
    std::vector<double> out;
    for (int step = 0; step < 5; ++step) out.push_back(training.run_step().loss);
    return out;
  };
  const auto full = losses({}), plain = losses({"fuse", "layout", "eliminate_dead"});
  for (int step = 0; step < 5; ++step) EXPECT_NEAR(full[step], plain[step], 1e-4 * plain[step]);
}

}  // namespace
}  // namespace lockstep
