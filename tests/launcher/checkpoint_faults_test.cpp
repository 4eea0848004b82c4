// The disk fails, or the process is killed, at every single call of the way of a checkpoint to the disk. Each time the
// newest checkpoint loads, and the training comes out the same.
#include <gtest/gtest.h>
#include <sys/wait.h>

#include "core/base/error.h"
#include "launcher/checkpoint/checkpoint_writer.h"
#include "launcher/checkpoint/resume.h"
#include "launcher/checkpoint/stored_checkpoint.h"
#include "tests/core/temporary_directory.h"
#include "tests/dist/world_of_threads.h"
#include "tests/launcher/faulty_files.h"
#include "tests/launcher/small_training.h"

namespace lockstep {
namespace {

using testing::DiskFault;
using testing::FaultyFiles;
using testing::run_world;
using testing::SmallTraining;

constexpr int kWorld = 2;
const char kToml[] =
    "[data]\ntrain = \"memory\"\nsplit = 0\n[train]\nepochs = 400\nglobal_batch = 8\nloss = \"softmax_cross_entropy\"\n"
    "[[layer]]\ntype = \"flatten\"\n[[layer]]\ntype = \"dense\"\nunits = 10\n";

SmallTraining make_training(std::unique_ptr<Communicator> communicator = nullptr) {
  return SmallTraining(kToml, testing::hashed_images(19), std::move(communicator));
}

CheckpointOptions options_for(const std::string& directory, const LoadedCheckpoint& loaded, const FileSystem& files) {
  return {.directory = directory,
          .retention = {.keep = 1},
          .loaded_step = loaded.found ? loaded.manifest.step : -1,
          .files = &files};
}

// One step from the newest checkpoint, and a checkpoint of it. Errors of every rank are returned.
std::string step_and_save(const std::string& directory, const FileSystem& files) {
  std::vector<std::string> errors(kWorld);
  run_world(kWorld, [&](std::unique_ptr<Communicator> communicator) {
    const int rank = communicator->rank();
    SmallTraining training = make_training(std::move(communicator));
    const LoadedCheckpoint loaded = load_newest_checkpoint(*training, directory);
    training->run_step();
    CheckpointWriter writer(*training, options_for(directory, loaded, files));
    writer.begin({});
    errors[static_cast<std::size_t>(rank)] = writer.finish().error;
  });
  EXPECT_EQ(errors[0], errors[1]) << "the ranks do not agree how it ended";
  return errors[0];
}

// The same in a process of its own. True where it was killed.
bool killed_while_saving(const std::string& directory, DiskFault fault, int at) {
  const pid_t child = fork();
  if (child == 0) {
    try {
      const FaultyFiles files(fault, at);
      _exit(step_and_save(directory, files).empty() ? 0 : 1);
    } catch (...) {
      _exit(2);
    }
  }
  int status = 0;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  if (WIFSIGNALED(status)) {
    EXPECT_EQ(WTERMSIG(status), SIGKILL);
    return true;
  }
  EXPECT_EQ(WEXITSTATUS(status), 0);
  return false;
}

std::string parameters_after(std::int64_t steps) {
  SmallTraining training = make_training();
  while (training->step() < steps) training->run_step();
  return training->parameters_sha256();
}

class KilledAtEveryCall : public ::testing::TestWithParam<DiskFault> {};

TEST_P(KilledAtEveryCall, TheNewestCheckpointLoadsAndTheTrainingIsTheSame) {
  const TemporaryDirectory place;
  const std::string directory = place.path("checkpoints");
  ASSERT_EQ(step_and_save(directory, local_files()), "");
  std::int64_t step = 1;
  int at = 1;
  for (; killed_while_saving(directory, GetParam(), at); ++at) {
    SmallTraining training = make_training();
    const LoadedCheckpoint loaded = load_newest_checkpoint(*training, directory);
    ASSERT_TRUE(loaded.found) << "call " << at;
    EXPECT_TRUE(loaded.passed_over.empty()) << "call " << at << ": " << loaded.passed_over[0];
    ASSERT_TRUE(loaded.manifest.step == step || loaded.manifest.step == step + 1) << "call " << at;
    step = loaded.manifest.step;
  }
  // Two parts of at least eight calls, the manifest, the directory, and what is removed.
  EXPECT_GT(at, 30);
  EXPECT_GT(step, 3);
  SmallTraining training = make_training();
  ASSERT_TRUE(load_newest_checkpoint(*training, directory).found);
  EXPECT_EQ(training->step(), step + 1);
  EXPECT_EQ(training->parameters_sha256(), parameters_after(step + 1));
  EXPECT_EQ(list_checkpoints(directory).size(), 1u);
}

INSTANTIATE_TEST_SUITE_P(CheckpointFaults, KilledAtEveryCall,
                         ::testing::Values(DiskFault::kKill, DiskFault::kKillHalf, DiskFault::kPowerLoss));

TEST(CheckpointFaults, ADiskThatFailsAtAnyCallIsToldAndCorruptsNothing) {
  const TemporaryDirectory place;
  const std::string directory = place.path("checkpoints");
  ASSERT_EQ(step_and_save(directory, local_files()), "");
  int failures = 0;
  for (int at = 1;; ++at) {
    const FaultyFiles files(DiskFault::kError, at);
    SmallTraining training = make_training();
    const LoadedCheckpoint before = load_newest_checkpoint(*training, directory);
    ASSERT_TRUE(before.found && before.passed_over.empty()) << "call " << at;
    training->run_step();
    try {
      CheckpointWriter writer(*training, options_for(directory, before, files));
      writer.begin({});
      const std::string error = writer.finish().error;
      failures += !error.empty();
      EXPECT_TRUE(error.empty() || error.find("No space left on device") != std::string::npos) << error;
      if (files.calls() < at) break;
      // The disk has room again: the same training goes on and saves.
      training->run_step();
      writer.begin({});
      EXPECT_EQ(writer.finish().error, "") << "call " << at;
    } catch (const Error& error) {
      // Before the first step: the directory cannot be made ready.
      EXPECT_EQ(error.kind(), ErrorKind::kEnvironment) << error.what();
      continue;
    }
    SmallTraining after = make_training();
    ASSERT_TRUE(load_newest_checkpoint(*after, directory).found) << "call " << at;
    EXPECT_EQ(after->step(), training->step()) << "call " << at;
    EXPECT_EQ(after->parameters_sha256(), training->parameters_sha256());
  }
  EXPECT_GT(failures, 15);
}

// One rank's disk is full: all hear of it, nobody is left behind, and the next checkpoint is whole.
TEST(CheckpointFaults, OneRankOfSeveralFails) {
  const TemporaryDirectory place;
  const std::string directory = place.path("checkpoints");
  run_world(3, [&](std::unique_ptr<Communicator> communicator) {
    const bool faulty = communicator->rank() == 1;
    const FaultyFiles failing(DiskFault::kError, 4);
    SmallTraining training = make_training(std::move(communicator));
    training->run_step();
    CheckpointWriter writer(*training, options_for(directory, {}, faulty ? failing : local_files()));
    writer.begin({});
    const std::string error = writer.finish().error;
    EXPECT_EQ(error.rfind("rank 1: ", 0), 0u) << error;
    EXPECT_FALSE(is_directory(directory + "/" + step_name(1)));
    writer.begin({});
    EXPECT_EQ(writer.finish().error, "");
    verify_checkpoint(directory + "/" + step_name(1));
  });
}

}  // namespace
}  // namespace lockstep
