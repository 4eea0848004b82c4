// Ten steps from equal weights on equal data, with and without frozen layers, agree with PyTorch's loss to 1e-5.
#include <gtest/gtest.h>

#include <cmath>

#include "tests/launcher/small_training.h"
#include "tests/references/training_losses.h"

namespace lockstep {
namespace {

using testing::SmallTraining;

// The initial values of training_losses.py.
void set_parameters(Training& training) {
  for (const NamedTensor& tensor : training.parameters()) {
    const auto slash = tensor.name.rfind('/');
    const std::string kind = tensor.name.substr(slash + 1);
    if (kind != "weight" && kind != "bias") continue;  // scale and offset of a normalisation stay 1 and 0
    const Shape& shape = tensor.shape;
    const double fan_in = static_cast<double>(shape.elements(0, shape.rank() - 1));
    const double scale = kind == "bias" ? 0.1 : std::sqrt(3.0 / fan_in);
    const auto values = testing::hashed_values(shape.elements(), testing::salt_of(tensor.name), scale);
    std::copy(values.begin(), values.end(), tensor.values.begin());
  }
  training.write_back();
}

std::string optimizer_of(const std::string& kind) {
  if (kind == "sgd") {
    return "learning_rate = 0.05\n[train.optimizer]\ntype = \"sgd\"\nmomentum = 0.9\n";
  }
  return "learning_rate = 0.003\noptimizer = \"adam\"\n";
}

void check(const TrainingReference& reference, int microbatches) {
  const std::string toml = text(
      "[data]\ntrain = \"memory\"\nshuffle = false\nsplit = 0\n[train]\nepochs = 1\nglobal_batch = 16\n",
      "loss = \"softmax_cross_entropy\"\nmicrobatches = ", microbatches, "\nfreeze = ", reference.freeze, "\n",
      optimizer_of(reference.optimizer), testing::layers_of(reference.model));
  SmallTraining training(toml, testing::hashed_images(160));
  set_parameters(*training);
  for (int step = 0; step < 10; ++step) {
    const float loss = training->run_step().loss;
    EXPECT_NEAR(loss, reference.losses[step], 1e-5 * reference.losses[step])
        << reference.model << " with " << reference.optimizer << ", frozen " << reference.freeze << ", " << microbatches
        << " microbatches, step " << step;
  }
}

TEST(TrainingReference, AgreesWithPyTorch) {
  for (const TrainingReference& reference : kTrainingReferences) check(reference, 1);
}

TEST(TrainingReference, AgreesInMicrobatches) {
  for (const TrainingReference& reference : kTrainingReferences) {
    // Batch normalisation takes its statistics from a microbatch.
    if (std::string(reference.model) != "residual") check(reference, 8);
  }
}

}  // namespace
}  // namespace lockstep
