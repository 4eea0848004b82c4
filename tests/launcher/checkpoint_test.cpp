// Checkpoints as a training uses them: resumed on any number of workers, with broken ones passed over.
#include <gtest/gtest.h>

#include <filesystem>

#include "core/base/error.h"
#include "core/base/file.h"
#include "launcher/checkpoint/checkpoint_writer.h"
#include "launcher/checkpoint/resume.h"
#include "launcher/checkpoint/stored_checkpoint.h"
#include "tests/dist/world_of_threads.h"
#include "tests/launcher/small_training.h"
#include "tests/core/temporary_directory.h"

namespace lockstep {
namespace {

using testing::run_world;
using testing::SmallTraining;

const char kTrain[] =
    "[data]\ntrain = \"memory\"\nsplit = 0\n[train]\nepochs = 4\nglobal_batch = 19\nlearning_rate = 0.01\n"
    "loss = \"softmax_cross_entropy\"\n";

class CheckpointTest : public ::testing::Test {
 protected:
  static std::string toml() { return kTrain + testing::layers_of("everything"); }

  // Trains `steps` steps in a world of that size, from the newest checkpoint where there is one, and saves. Returns
  // the hash of the parameters.
  std::string train(int world, int steps) const {
    std::string sha256;
    run_world(world, [&](std::unique_ptr<Communicator> communicator) {
      const bool first = communicator->rank() == 0;
      SmallTraining training(toml(), testing::hashed_images(83), std::move(communicator));
      load_newest_checkpoint(*training, directory());
      for (int step = 0; step < steps; ++step) training->run_step();
      const std::int64_t loaded = training->step() - steps;
      CheckpointWriter writer(*training, {.directory = directory(),
                                          .retention = {.keep = keep_},
                                          .loaded_step = loaded > 0 ? loaded : -1});
      writer.begin({});
      EXPECT_EQ(writer.finish().error, "");
      if (first) sha256 = training->parameters_sha256();
    });
    return sha256;
  }

  // The step that is loaded now; -1 where none is.
  std::int64_t loaded_step(std::vector<std::string>* passed_over = nullptr) const {
    SmallTraining training(toml(), testing::hashed_images(83));
    const LoadedCheckpoint loaded = load_newest_checkpoint(*training, directory());
    if (passed_over != nullptr) *passed_over = loaded.passed_over;
    EXPECT_EQ(training->step(), loaded.found ? loaded.manifest.step : 0);
    return loaded.found ? loaded.manifest.step : -1;
  }

  std::string directory() const { return place_.path("checkpoints"); }
  std::string file(int step, const std::string& name) const {
    return directory() + "/" + step_name(step) + "/" + name;
  }

  TemporaryDirectory place_;
  std::int64_t keep_ = 2;
};

std::string error_of(const std::function<void()>& body) {
  try {
    body();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kBadInput) << error.what();
    return error.what();
  }
  return "no error";
}

TEST_F(CheckpointTest, ResumesWithTheSameBitsOnAnyNumberOfWorkers) {
  std::string uninterrupted;
  {
    SmallTraining training(toml(), testing::hashed_images(83));
    for (int step = 0; step < 13; ++step) training->run_step();
    uninterrupted = training->parameters_sha256();
  }
  train(4, 3);
  train(2, 4);
  train(3, 1);
  train(1, 2);
  EXPECT_EQ(train(8, 3), uninterrupted);
}

// Parts are divided otherwise, and hold the same.
TEST_F(CheckpointTest, AnyNumberOfWorkersWritesTheSameState) {
  std::map<int, std::map<std::string, std::vector<float>>> stored;
  for (const int world : {1, 2, 3, 5}) {
    std::filesystem::remove_all(directory());
    train(world, 3);
    const auto entries = list_checkpoints(directory());
    ASSERT_EQ(entries.size(), 1u);
    const StoredCheckpoint checkpoint = StoredCheckpoint::open(entries[0].path);
    EXPECT_EQ(checkpoint.manifest().parts.size(), static_cast<std::size_t>(world));
    for (const auto& [name, shape] : checkpoint.tensors()) stored[world][name] = checkpoint.read(name);
    EXPECT_EQ(stored[world], stored[1]) << world << " workers";
  }
  EXPECT_GT(stored[1].size(), 20u);
}

TEST_F(CheckpointTest, KeepsTheNewest) {
  for (int turn = 0; turn < 4; ++turn) train(1, 1);
  const auto entries = list_checkpoints(directory());
  ASSERT_EQ(entries.size(), 2u);
  EXPECT_EQ(entries[0].step, 3);
  EXPECT_EQ(entries[1].step, 4);
  EXPECT_TRUE(entries[1].path.ends_with("step-00000004"));
}

TEST_F(CheckpointTest, EveryFlippedByteIsSeen) {
  train(1, 1);
  const std::string path = directory() + "/" + step_name(1);
  for (const char* name : {"part-0000.h5", "manifest.json"}) {
    const std::string bytes = local_files().read(file(1, name));
    for (std::size_t at = 0; at < bytes.size(); ++at) {
      std::string broken = bytes.substr(at, 1);
      broken[0] = static_cast<char>(broken[0] ^ (1 << at % 8));
      local_files().write_at(file(1, name), at, broken);
      EXPECT_NE(error_of([&] { verify_checkpoint(path); }), "no error") << name << " byte " << at;
      local_files().write_at(file(1, name), at, bytes.substr(at, 1));
    }
  }
  EXPECT_EQ(loaded_step(), 1);
}

TEST_F(CheckpointTest, BrokenOnesArePassedOverAndTold) {
  train(2, 1);
  train(2, 1);
  std::vector<std::string> why;
  const auto expect_passed_over = [&](const std::string& reason) {
    EXPECT_EQ(loaded_step(&why), 1);
    ASSERT_EQ(why.size(), 1u);
    EXPECT_NE(why[0].find(reason), std::string::npos) << why[0];
  };
  const std::string part = file(2, "part-0001.h5"), bytes = local_files().read(part);
  local_files().write_at(part, bytes.size() / 2, "damage");
  expect_passed_over("part-0001.h5: its checksum does not match the manifest");
  for (std::size_t length = 0; length < bytes.size(); length += 1 + bytes.size() / 19) {
    local_files().write(part, bytes.substr(0, length));
    expect_passed_over(text("part-0001.h5: has ", length, " bytes, the manifest says ", bytes.size()));
  }
  local_files().remove(part);
  expect_passed_over("part-0001.h5: is missing");
  local_files().write_atomic(part, bytes);
  EXPECT_EQ(loaded_step(), 2);
  const std::string manifest = local_files().read(file(2, "manifest.json"));
  local_files().write(file(2, "manifest.json"), "{");
  expect_passed_over("manifest.json: is not a manifest, or a damaged one");
  local_files().write(file(2, "manifest.json"), manifest.substr(0, manifest.size() - 1));
  expect_passed_over("manifest.json: its checksum does not match");
  local_files().remove(file(2, "manifest.json"));
  expect_passed_over("step-00000002: has no manifest.json");
  // The training comes to step 2 again, and the broken one is replaced.
  train(2, 1);
  EXPECT_EQ(loaded_step(&why), 2);
  EXPECT_TRUE(why.empty());
}

// Where only one is kept, a broken one that is further on does not stand for it.
TEST_F(CheckpointTest, ABrokenOneOfALaterStepIsNotTheOneThatIsKept) {
  train(1, 1);
  train(1, 3);
  local_files().write_at(file(4, "part-0000.h5"), 5000, "damage");
  keep_ = 1;
  train(2, 1);
  EXPECT_EQ(loaded_step(), 2);
  EXPECT_FALSE(is_directory(directory() + "/" + step_name(1)));
  train(1, 2);
  std::vector<std::string> why;
  EXPECT_EQ(loaded_step(&why), 4);
  EXPECT_TRUE(why.empty());
}

// Somebody may still mend it: a training does not begin anew over it.
TEST_F(CheckpointTest, WhereNoneCanBeLoadedItIsRefused) {
  train(1, 1);
  local_files().write_at(file(1, "part-0000.h5"), 5000, "damage");
  SmallTraining training(toml(), testing::hashed_images(83));
  const std::string why = error_of([&] { load_newest_checkpoint(*training, directory()); });
  EXPECT_NE(why.find("none of its 1 checkpoints can be loaded: "), std::string::npos) << why;
  EXPECT_NE(why.find("--overwrite"), std::string::npos) << why;
}

// A better one could not be written: the best that is there stays, whatever the newest manifest says.
TEST_F(CheckpointTest, TheBestThatIsThereStays) {
  SmallTraining training(toml(), testing::hashed_images(83));
  CheckpointWriter writer(*training, {.directory = directory(), .retention = {.keep = 1}});
  for (const std::int64_t best : {1, 1, 99, 99}) {
    training->run_step();
    writer.begin({.followed = {{kFollowedBest, {{"step", best}}}}});
    EXPECT_EQ(writer.finish().error, "");
    EXPECT_EQ(best_step(directory()), 1);
  }
  EXPECT_EQ(list_checkpoints(directory()).size(), 2u);
  EXPECT_EQ(find_checkpoint(directory(), "best"), directory() + "/" + step_name(1));
}

TEST_F(CheckpointTest, WhatWasHalfWrittenIsNoCheckpointAndIsRemoved) {
  train(1, 1);
  std::filesystem::create_directories(directory() + "/.step-00000009.tmp");
  std::filesystem::create_directories(directory() + "/step-00000008");
  EXPECT_EQ(loaded_step(), 1);
  train(1, 1);
  EXPECT_FALSE(is_directory(directory() + "/.step-00000009.tmp"));
}

TEST_F(CheckpointTest, AnotherModelIsRefusedByName) {
  train(1, 1);
  SmallTraining other(kTrain + testing::layers_of("mlp"), testing::hashed_images(83));
  const std::string why = error_of([&] { load_newest_checkpoint(*other, directory()); });
  EXPECT_NE(why.find("belongs to another model or optimizer: missing: "), std::string::npos) << why;
  EXPECT_NE(why.find("; not in the model: "), std::string::npos) << why;
  EXPECT_NE(why.find(" more"), std::string::npos) << why;
  // Weights alone have no moments: another optimizer does not matter to them.
  SmallTraining momentum(kTrain + std::string("[train.optimizer]\ntype = \"sgd\"\nmomentum = 0.9\n") + testing::layers_of("everything"),
                         testing::hashed_images(83));
  EXPECT_NE(error_of([&] { load_newest_checkpoint(*momentum, directory()); }).find("missing: "), std::string::npos);
  EXPECT_TRUE(load_newest_checkpoint(*momentum, directory(), LoadedState::kWeights).found);
}

TEST_F(CheckpointTest, OtherDataIsRefused) {
  train(1, 1);
  SmallTraining other(toml(), testing::hashed_images(84));
  const std::string why = error_of([&] { load_newest_checkpoint(*other, directory()); });
  EXPECT_NE(why.find("was trained on other data"), std::string::npos) << why;
}

TEST_F(CheckpointTest, EmptyDirectoryHoldsNone) {
  EXPECT_EQ(loaded_step(), -1);
}

TEST_F(CheckpointTest, IsFoundByAWord) {
  for (int turn = 0; turn < 2; ++turn) train(1, 1);
  const std::string first = directory() + "/" + step_name(1), second = directory() + "/" + step_name(2);
  EXPECT_EQ(find_checkpoint(directory(), "newest"), second);
  EXPECT_EQ(find_checkpoint(directory(), "1"), first);
  EXPECT_EQ(find_checkpoint("elsewhere", first), first);
  local_files().remove(file(2, "part-0000.h5"));
  EXPECT_EQ(find_checkpoint(directory(), "newest"), first);
  EXPECT_NE(error_of([&] { find_checkpoint(directory(), "7"); }).find("has no checkpoint of step 7; there are those of 1, 2"),
            std::string::npos);
  EXPECT_NE(error_of([&] { find_checkpoint(directory(), "best"); }).find("has no best checkpoint"), std::string::npos);
  EXPECT_NE(error_of([&] { find_checkpoint(directory(), "new"); }).find("expected newest, best"), std::string::npos);
}

}  // namespace
}  // namespace lockstep
