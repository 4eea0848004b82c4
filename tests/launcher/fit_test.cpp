// The loop over epochs: which checkpoints stay, when it stops early, and what a stop at any place leaves.
#include "launcher/fit.h"

#include <gtest/gtest.h>

#include <atomic>
#include <mutex>

#include "launcher/checkpoint/resume.h"
#include "launcher/checkpoint/stored_checkpoint.h"
#include "tests/core/temporary_directory.h"
#include "tests/dist/world_of_threads.h"
#include "tests/launcher/small_training.h"

namespace lockstep {
namespace {

using testing::run_world;
using testing::SmallTraining;

// The labels of the test samples are others, so what is learnt soon fits them worse and worse.
std::string toml_with(const std::string& more) {
  return "[data]\ntrain = \"memory\"\nsplit = 0\n[train]\nepochs = 12\nglobal_batch = 16\n"
         "loss = \"softmax_cross_entropy\"\n[train.learning_rate]\ninitial = 0.01\n[evaluate]\nbatch = 7\n" +
         more + testing::layers_of("mlp");
}

// As toml_with(), with a test part that has to exist in the configuration too.
std::string following(const std::string& more) {
  std::string toml = toml_with(more);
  toml.replace(toml.find("split = 0\n"), 10, "split = 0.5\n");
  return toml;
}

struct Recorder final : FitObserver {
  std::vector<std::int64_t> steps;
  std::vector<std::pair<std::int64_t, double>> losses;  // of evaluations, by step
  std::vector<CheckpointOutcome> checkpoints;
  std::int64_t stopped_early = -1;

  void on_step(std::int64_t step, std::int64_t, const StepResult&) override { steps.push_back(step); }
  void on_evaluation(const Evaluation& record) override {
    for (const MetricValue& metric : record.metrics) {
      if (metric.name == "loss") losses.emplace_back(record.step, metric.values.at(0));
    }
  }
  void on_checkpoint_end(const CheckpointOutcome& how) override { checkpoints.push_back(how); }
  void on_early_stop(const BestState& state) override { stopped_early = state.step; }
};

struct Fitted {
  FitStatus status = FitStatus::kDone;
  Recorder seen;
  std::int64_t step = 0;
  std::string parameters;
};

// One fit from the newest checkpoint of `directory`, on every rank of a world; what rank 0 saw.
Fitted fit_from_checkpoint(const std::string& toml, const std::string& directory, int world = 1,
                           const std::function<bool(int rank, std::int64_t step)>& wants_stop = {}) {
  Fitted out;
  run_world(world, [&](std::unique_ptr<Communicator> communicator) {
    const int rank = communicator->rank();
    SmallTraining training(toml, testing::hashed_images(64), std::move(communicator),
                           testing::hashed_images(61, 7));
    const LoadedCheckpoint loaded = load_newest_checkpoint(*training, directory);
    Recorder seen;
    FitOptions options{.checkpoint_directory = directory, .resumed = loaded.found ? &loaded.manifest : nullptr};
    if (wants_stop) options.stop_requested = [&] { return wants_stop(rank, training->step()); };
    const FitStatus status = fit(*training, options, seen);
    if (rank == 0) out = {status, seen, training->step(), training->parameters_sha256()};
  });
  return out;
}

std::int64_t best_of(const std::vector<std::pair<std::int64_t, double>>& losses) {
  return std::ranges::min_element(losses, {}, [](const auto& loss) { return loss.second; })->first;
}

std::vector<std::int64_t> steps_of(const std::string& directory) {
  std::vector<std::int64_t> steps;
  for (const CheckpointEntry& entry : list_checkpoints(directory)) steps.push_back(entry.step);
  return steps;
}

TEST(Fit, KeepsTheNewestTheBestAndEveryNth) {
  const TemporaryDirectory place;
  const Fitted run = fit_from_checkpoint(
      following("[checkpoint]\nkeep = 1\nbest = \"loss\"\nkeep_every = 20\n"), place.path("a"), 2);
  const std::int64_t best = best_of(run.seen.losses);
  ASSERT_LT(best, 40) << "the loss of the held-out samples was to rise";
  std::set<std::int64_t> expected{best, 20, 40, 48};
  EXPECT_EQ(steps_of(place.path("a")), std::vector<std::int64_t>(expected.begin(), expected.end()));
  EXPECT_EQ(find_checkpoint(place.path("a"), "best"), place.path("a") + "/" + step_name(best));
  EXPECT_EQ(read_manifest(place.path("a") + "/" + step_name(best)).metrics.at("loss"),
            std::ranges::min_element(run.seen.losses, {}, [](const auto& loss) { return loss.second; })->second);
}

// The best evaluation makes a checkpoint due, whatever every_steps says.
TEST(Fit, TheBestIsWrittenWhenItIsReached) {
  const TemporaryDirectory place;
  const Fitted run = fit_from_checkpoint(following("[checkpoint]\nevery_steps = 1000\nbest = \"loss\"\nkeep = 1\n"),
                                         place.path("a"));
  EXPECT_EQ(steps_of(place.path("a")), (std::vector<std::int64_t>{best_of(run.seen.losses), 48}));
}

TEST(Fit, StopsEarlyAtTheSameStepWhetherResumedOrNot) {
  const std::string early = following("[train.early_stopping]\nmetric = \"loss\"\npatience = 2\n");
  const TemporaryDirectory place;
  const Fitted whole = fit_from_checkpoint(following(""), place.path("whole"));
  const Fitted stopped = fit_from_checkpoint(early, place.path("stopped"));
  ASSERT_LT(stopped.step, whole.step);
  EXPECT_EQ(stopped.status, FitStatus::kDone);
  // Two evaluations after the best one of those until then.
  EXPECT_EQ(stopped.seen.stopped_early, best_of(stopped.seen.losses));
  EXPECT_EQ(stopped.step, stopped.seen.stopped_early + 2 * 4);
  EXPECT_TRUE(std::equal(stopped.seen.losses.begin(), stopped.seen.losses.end(), whole.seen.losses.begin()));
  // In pieces, on other numbers of workers.
  int world = 1;
  Fitted piece;
  do {
    const std::int64_t until = piece.step + 3;
    piece = fit_from_checkpoint(early, place.path("pieces"), world++ % 3 + 1,
                                [&](int, std::int64_t step) { return step >= until; });
  } while (piece.status == FitStatus::kStopped);
  EXPECT_EQ(piece.step, stopped.step);
  EXPECT_EQ(piece.seen.stopped_early, stopped.seen.stopped_early);
  EXPECT_EQ(piece.parameters, stopped.parameters);
}

TEST(Fit, OneRankThatWantsToStopStopsAllAtOneStep) {
  const TemporaryDirectory place;
  const Fitted stopped = fit_from_checkpoint(following(""), place.path("a"), 4,
                                             [](int rank, std::int64_t step) { return rank == 2 && step >= 9; });
  EXPECT_EQ(stopped.status, FitStatus::kStopped);
  EXPECT_GE(stopped.step, 9);
  EXPECT_EQ(steps_of(place.path("a")).back(), stopped.step);
  const Fitted rest = fit_from_checkpoint(following(""), place.path("a"), 3);
  EXPECT_EQ(rest.seen.steps.front(), stopped.step + 1);
  EXPECT_EQ(rest.parameters, fit_from_checkpoint(following(""), place.path("b")).parameters);
}

TEST(Fit, ASignalBeforeTheFirstStepLeavesACheckpointOfStepZero) {
  const TemporaryDirectory place;
  const Fitted stopped =
      fit_from_checkpoint(following(""), place.path("a"), 2, [](int, std::int64_t) { return true; });
  EXPECT_EQ(stopped.status, FitStatus::kStopped);
  EXPECT_EQ(steps_of(place.path("a")), std::vector<std::int64_t>{stopped.step});
  EXPECT_EQ(stopped.step, 0);
}

// The stop comes while the samples of the first evaluation (after step 4) are measured.
TEST(Fit, AnEvaluationThatIsInterruptedIsMadeWhenTheTrainingGoesOn) {
  const TemporaryDirectory place;
  std::atomic<int> asked_at_four{0};
  const Fitted stopped = fit_from_checkpoint(following(""), place.path("a"), 1, [&](int, std::int64_t step) {
    return step == 4 && ++asked_at_four == 3;
  });
  EXPECT_EQ(stopped.status, FitStatus::kStopped);
  EXPECT_EQ(stopped.step, 4);
  EXPECT_TRUE(stopped.seen.losses.empty());
  const std::string checkpoint = place.path("a") + "/" + step_name(4);
  EXPECT_FALSE(read_manifest(checkpoint).evaluated);
  // It is made and kept, though the next stop comes before the next step.
  std::atomic<int> asked{0};
  const Fitted evaluated =
      fit_from_checkpoint(following(""), place.path("a"), 1, [&](int, std::int64_t) { return ++asked == 9; });
  EXPECT_EQ(evaluated.step, 4);
  EXPECT_EQ(evaluated.seen.losses.size(), 1u);
  EXPECT_EQ(verify_checkpoint(checkpoint).metrics.at("loss"), evaluated.seen.losses.at(0).second);
  EXPECT_TRUE(verify_checkpoint(checkpoint).evaluated);
  const Fitted rest = fit_from_checkpoint(following(""), place.path("a"), 2);
  const Fitted whole = fit_from_checkpoint(following(""), place.path("b"));
  EXPECT_TRUE(std::equal(rest.seen.losses.begin(), rest.seen.losses.end(), whole.seen.losses.begin() + 1));
  EXPECT_EQ(rest.seen.losses.size() + 1, whole.seen.losses.size());
  EXPECT_EQ(rest.parameters, whole.parameters);
}

}  // namespace
}  // namespace lockstep
