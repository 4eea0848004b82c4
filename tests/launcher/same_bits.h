// Promise 1 at length: parameters, moments and the whole loss log have the same bits for any number of workers, any size of
// bucket and any number of loader threads, whatever is random on the way.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <mutex>

#include "tests/dist/world_of_threads.h"
#include "tests/launcher/small_training.h"

namespace lockstep::testing {

inline constexpr std::int64_t kSamples = 83;  // a prime: no batch, microbatch or worker divides it

struct Outcome {
  std::string parameters;
  std::vector<float> losses;
  std::map<std::string, std::vector<float>> moments;
  bool operator==(const Outcome&) const = default;
};

// Trains all steps in a world of threads.
inline Outcome train(const std::string& toml, int world, std::int64_t samples = kSamples, std::vector<int> nodes = {}) {
  std::mutex mutex;
  std::vector<Outcome> outcomes;
  std::map<std::string, std::vector<float>> moments;
  run_world(world, [&](std::unique_ptr<Communicator> communicator) {
    SmallTraining training(toml, hashed_images(samples), std::move(communicator));
    Outcome outcome;
    while (training->step() < training->total_steps()) outcome.losses.push_back(training->run_step().loss);
    outcome.parameters = training->parameters_sha256();
    const std::lock_guard lock(mutex);
    for (const TensorSlice& slice : training->moments()) {
      std::vector<float>& whole = moments[slice.name];
      if (whole.size() < static_cast<std::size_t>(slice.range.end)) whole.resize(static_cast<std::size_t>(slice.range.end));
      std::copy_n(slice.values, slice.range.size(), whole.begin() + slice.range.begin);
    }
    outcomes.push_back(std::move(outcome));
  }, 120, std::move(nodes));
  for (const Outcome& outcome : outcomes) {
    EXPECT_EQ(outcome.parameters, outcomes[0].parameters);
    EXPECT_EQ(outcome.losses, outcomes[0].losses);
  }
  outcomes[0].moments = std::move(moments);
  return outcomes[0];
}

struct Case {
  const char* name;
  const char* model;
  const char* transforms;
  const char* train;
};

inline const Case kCases[] = {
    {"cnn", "everything",
     "[[data.transform]]\ntype = \"random_crop\"\npadding = 1\n[[data.transform]]\ntype = \"horizontal_flip\"\n"
     "[[data.transform]]\ntype = \"mixup\"\nalpha = 0.2\n",
     "learning_rate = 0.003"},
    {"mlp", "mlp", "", "learning_rate = 0.003"},
    {"frozen", "everything", "", "learning_rate = 0.003\nfreeze = [\"batch_normalization\", \"dense\"]"}};

class SameBits : public ::testing::TestWithParam<Case> {
 protected:
  static void expect(const std::string& precision) {
    const auto toml = [&](int bucket_bytes, int threads) {
      return text("[data]\ntrain = \"memory\"\nsplit = 0\nthreads = ", threads, "\n", GetParam().transforms,
                  "[train]\nepochs = 60\nsteps = 300\nglobal_batch = 17\nloss = \"softmax_cross_entropy\"\nprecision = \"",
                  precision, "\"\nbucket_bytes = ", bucket_bytes, "\n", GetParam().train, "\n",
                  layers_of(GetParam().model));
    };
    const Outcome alone = train(toml(1 << 20, 1), 1);
    ASSERT_EQ(alone.losses.size(), 300u);
    EXPECT_LT(alone.losses.back(), alone.losses.front());
    EXPECT_FALSE(alone.moments.empty());
    for (const int world : {1, 2, 3, 4, 5, 8}) {
      for (const int bucket_bytes : {1, 2000, 1 << 20}) {
        for (const int threads : {1, 3}) {
          EXPECT_EQ(train(toml(bucket_bytes, threads), world), alone)
              << world << " workers, buckets of " << bucket_bytes << " bytes, " << threads << " loader threads";
        }
      }
    }
  }
};

}  // namespace lockstep::testing
