// Exactly-once evaluation: every metric has the bits of one worker for any number of samples, workers and batches; more
// workers than samples too.
#include <gtest/gtest.h>

#include <bit>
#include <mutex>

#include "tests/dist/world_of_threads.h"
#include "tests/launcher/small_training.h"

namespace lockstep {
namespace {

using testing::run_world;
using testing::SmallTraining;

std::string toml_of(const std::string& loss, const std::string& metrics, int units, int batch) {
  return text("[data]\ntrain = \"memory\"\nsplit = 0\n[evaluate]\nbatch = ", batch, "\nmetrics = [", metrics,
              "]\n[train]\nloss = \"", loss, "\"\nglobal_batch = 19\n[[layer]]\ntype = \"flatten\"\n",
              "[[layer]]\ntype = \"dense\"\nunits = ", units, "\n");
}

struct Evaluated {
  std::vector<std::uint64_t> values;  // the bits of all metrics: NaN equals itself
  std::int64_t samples = 0;  // that all ranks together were asked for
};

// Untrained: random parameters rank samples as well as any.
Evaluated evaluate(const std::string& toml, std::int64_t samples, int classes, int world) {
  std::mutex mutex;
  std::vector<std::vector<std::uint64_t>> by_rank;
  Evaluated out;
  run_world(world, [&](std::unique_ptr<Communicator> communicator) {
    SmallTraining training(toml, testing::hashed_images(samples, classes), std::move(communicator));
    std::int64_t seen = 0;
    const auto count = [&](std::int64_t, std::int64_t samples, const float*) { seen += samples; };
    const auto metrics = training->evaluate(training->data().train, {.outputs_of = count});
    const std::lock_guard lock(mutex);
    out.samples += seen;
    std::vector<std::uint64_t>& mine = by_rank.emplace_back();
    for (const MetricValue& metric : metrics) {
      for (const double value : metric.values) mine.push_back(std::bit_cast<std::uint64_t>(value));
    }
  });
  for (const auto& values : by_rank) EXPECT_EQ(values, by_rank[0]);
  out.values = by_rank[0];
  return out;
}

void expect_equal_for_all_worlds(const std::string& loss, const std::string& metrics, int units, int classes) {
  for (const std::int64_t samples : {1, 7, 1000, 1009}) {
    for (const int batch : {1, 64, 2000}) {
      const std::string toml = toml_of(loss, metrics, units, batch);
      const Evaluated alone = evaluate(toml, samples, classes, 1);
      EXPECT_EQ(alone.samples, samples);
      for (int world = 2; world <= 8; ++world) {
        const Evaluated shared = evaluate(toml, samples, classes, world);
        EXPECT_EQ(shared.samples, samples) << world << " workers, batches of " << batch;
        EXPECT_EQ(shared.values, alone.values) << samples << " samples, " << world << " workers, batches of " << batch;
      }
    }
  }
}

TEST(Evaluation, OfClassesHasTheBitsOfOneWorker) {
  expect_equal_for_all_worlds("softmax_cross_entropy",
                              R"("loss", "accuracy", "top_3", "confusion_matrix", "f1", "perplexity")", 10, 10);
}

TEST(Evaluation, OfYesAndNoHasTheBitsOfOneWorker) {
  expect_equal_for_all_worlds("binary_cross_entropy", R"("loss", "accuracy", "auc", "confusion_matrix")", 1, 2);
}

}  // namespace
}  // namespace lockstep
