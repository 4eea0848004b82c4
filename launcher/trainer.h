// Training from C++: a model, some words as in a configuration, and data.
//
//   Trainer trainer(model, {.loss = "softmax_cross_entropy", .epochs = 10});
//   trainer.fit(parts.train, parts.test);
//   std::map<std::string, double> scores = trainer.evaluate(parts.test);
//   std::vector<float> logits = trainer.predict(parts.test);
//
// One worker, or one of several where the program was started by mpirun or srun: all ranks make the same calls.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>

#include "launcher/device_choice.h"
#include "launcher/fit.h"

namespace lockstep {

struct TrainerOptions {
  std::string loss = "mean_squared_error";
  double label_smoothing = 0.0;
  OptimizerOptions optimizer = {};
  ScheduleOptions learning_rate = {};
  std::int64_t epochs = 10;
  std::int64_t global_batch = 32;
  std::int64_t microbatches = kMicrobatchesAuto;
  double clip_norm = 0.0;
  bool bf16 = false;
  std::uint64_t seed = 42;
  int threads = 1;
  // Where it computes. `gpu_module`: the installed lockstep_cuda.so; empty: ../lib/lockstep_cuda.so from the program's folder.
  DeviceChoice device = DeviceChoice::kAuto;
  std::string gpu_module = {};
  // Arrays of the datasets, and how the inputs are normalised.
  std::vector<std::string> inputs = {"x"};
  std::string target = "y";
  NormalizeOptions normalize = {};
  std::vector<std::string> metrics = {};  // empty: those that suit the loss
  std::optional<InitialWeights> initial_weights = {};  // the first fit begins with these
  bool print = true;                      // one line an epoch on rank 0
};

class Trainer {
 public:
  // Throws bad_input where an option is impossible. The model's input shapes come from the data. `communicator`: as made by
  // join_world(); null for a single worker.
  Trainer(const Model& model, const TrainerOptions& options,
          std::unique_ptr<Communicator> communicator = nullptr);
  ~Trainer();

  // Trains from fresh parameters, or from those of the last fit; evaluates `test` after each epoch where given. The data must
  // stay the same across fits. Returns the loss of the last step.
  float fit(const Subset& train, const Subset& test = {});
  // Metrics by name; those that are no single number are left out. REQUIRES: fit() was called.
  std::map<std::string, double> evaluate(const Subset& subset);
  // Outputs of the model, row-major (samples, output). REQUIRES: fit() was called.
  std::vector<float> predict(const Subset& subset);

  // Parameters by name. REQUIRES: fit() was called.
  Training& training();

 private:
  struct Session;
  std::unique_ptr<Worker> worker_;
  Config config_;
  bool print_ = true;
  std::unique_ptr<Session> session_;
};

// The metrics that are one number, by name.
std::map<std::string, double> scalar_metrics(const std::vector<MetricValue>& metrics);

}  // namespace lockstep
