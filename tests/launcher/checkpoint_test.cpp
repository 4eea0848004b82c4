#include "launcher/checkpoint.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "core/base/error.h"
#include "core/base/file.h"
#include "tests/dist/world_of_threads.h"
#include "tests/launcher/small_training.h"

namespace lockstep {
namespace {

using testing::run_world;
using testing::SmallTraining;

const char kTrain[] =
    "[data]\ntrain = \"memory\"\nsplit = 0\n[train]\nepochs = 4\nglobal_batch = 19\nlearning_rate = 0.01\n"
    "loss = \"softmax_cross_entropy\"\n";

class CheckpointTest : public ::testing::Test {
 protected:
  CheckpointTest() {
    std::string name = (std::filesystem::temp_directory_path() / "lockstep-XXXXXX").string();
    directory_ = mkdtemp(name.data());
  }
  ~CheckpointTest() override { std::filesystem::remove_all(directory_); }

  static std::string toml() { return kTrain + testing::layers_of("everything"); }

  // Trains `steps` steps in a world of that size, from the newest checkpoint where there is one, and saves. Returns
  // the hash of the parameters.
  std::string train(int world, int steps) {
    std::string sha256;
    run_world(world, [&](std::unique_ptr<Communicator> communicator) {
      const bool first = communicator->rank() == 0;
      SmallTraining training(toml(), testing::hashed_images(83), std::move(communicator));
      load_newest_checkpoint(*training, directory_);
      for (int step = 0; step < steps; ++step) training->run_step();
      save_checkpoint(*training, directory_, 2);
      if (first) sha256 = training->parameters_sha256();
    });
    return sha256;
  }

  std::string directory_;
};

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

TEST_F(CheckpointTest, KeepsTheNewest) {
  for (int turn = 0; turn < 4; ++turn) train(1, 1);
  const auto entries = list_checkpoints(directory_);
  ASSERT_EQ(entries.size(), 2u);
  EXPECT_EQ(entries[0].step, 3);
  EXPECT_EQ(entries[1].step, 4);
  EXPECT_TRUE(entries[1].path.ends_with("step-00000004"));
}

TEST_F(CheckpointTest, EveryFlippedByteOfThePartIsSeenAndThePreviousCheckpointLoads) {
  train(1, 1);
  train(1, 1);
  const std::string part = directory_ + "/step-00000002/part-0000.h5";
  const std::string bytes = local_files().read(part);
  SmallTraining training(toml(), testing::hashed_images(83));
  for (std::size_t at = 0; at < bytes.size(); at += bytes.size() / 23) {
    std::string broken = bytes;
    broken[at] = static_cast<char>(broken[at] ^ 0x10);
    local_files().write(part, broken);
    const LoadedCheckpoint loaded = load_newest_checkpoint(*training, directory_);
    EXPECT_EQ(loaded.step, 1);
    ASSERT_EQ(loaded.passed_over.size(), 1u);
    EXPECT_NE(loaded.passed_over[0].find("part-0000.h5: its checksum does not match"), std::string::npos);
  }
  local_files().write(part, bytes.substr(0, bytes.size() / 2));
  EXPECT_EQ(load_newest_checkpoint(*training, directory_).step, 1);
  local_files().write(part, bytes);
  EXPECT_EQ(load_newest_checkpoint(*training, directory_).step, 2);
  local_files().write(directory_ + "/step-00000002/manifest.json", "{");
  EXPECT_EQ(load_newest_checkpoint(*training, directory_).step, 1);
}

TEST_F(CheckpointTest, HalfWrittenDirectoryIsNoCheckpoint) {
  train(1, 1);
  std::filesystem::create_directories(directory_ + "/.step-00000009.tmp");
  std::filesystem::create_directories(directory_ + "/step-00000008");
  SmallTraining training(toml(), testing::hashed_images(83));
  EXPECT_EQ(load_newest_checkpoint(*training, directory_).step, 1);
}

TEST_F(CheckpointTest, AnotherModelIsRefusedByName) {
  train(1, 1);
  SmallTraining other(kTrain + testing::layers_of("mlp"), testing::hashed_images(83));
  try {
    load_newest_checkpoint(*other, directory_);
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kBadInput);
    EXPECT_NE(std::string(error.what()).find("belongs to another model: it has no parameters \"head/"),
              std::string::npos)
        << error.what();
  }
}

TEST_F(CheckpointTest, EmptyDirectoryHoldsNone) {
  SmallTraining training(toml(), testing::hashed_images(83));
  EXPECT_FALSE(load_newest_checkpoint(*training, directory_ + "/missing").found);
}

}  // namespace
}  // namespace lockstep
