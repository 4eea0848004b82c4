// Small trainings for tests: a configuration as TOML text, data in memory, and a worker of any rank.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "launcher/setup.h"
#include "launcher/toml.h"
#include "launcher/training.h"
#include "ops/register.h"

namespace lockstep::testing {

// `count` numbers scale * (2 u - 1) where u is a hash of index and salt; the same as value() in
// tests/references/training_losses.py.
std::vector<float> hashed_values(std::int64_t count, std::uint32_t salt, double scale);
// FNV-1a of a text, 16 bits.
std::uint32_t salt_of(const std::string& text);

// Images f32 (samples, 8, 8, 1) named "x" and labels i32 in [0, classes) named "y".
std::shared_ptr<const Dataset> hashed_images(std::int64_t samples, int classes = 10);

Config config_from(const std::string& toml);

// One worker's training with everything that it needs alive.
class SmallTraining {
 public:
  // `communicator` null: a world of one.
  SmallTraining(const std::string& toml, std::shared_ptr<const Dataset> train,
                std::unique_ptr<Communicator> communicator = nullptr,
                std::shared_ptr<const Dataset> test = nullptr);

  Training& operator*() { return *training_; }
  Training* operator->() { return training_.get(); }

 private:
  Config config_;
  std::unique_ptr<Worker> worker_;
  RunData data_;
  std::unique_ptr<Training> training_;
};

// A worker on the device of the tests (tests/test_device.h). Several exchange through the host where that is no CPU.
std::unique_ptr<Worker> test_worker(std::unique_ptr<Communicator> communicator, int threads);

// Models as [[layer]] tables: "mlp", "cnn", "residual" of training_losses.py, and "everything" with dropout and batch
// normalisation.
std::string layers_of(const std::string& model);

}  // namespace lockstep::testing
