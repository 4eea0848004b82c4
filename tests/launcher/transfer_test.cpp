// Transfer learning as a user does it: train, then begin another run with its weights, frozen and with another head.
#include <gtest/gtest.h>

#include "launcher/summary.h"
#include "tests/launcher/program_test.h"

namespace lockstep {
namespace {

class TransferTest : public ProgramTest {
 protected:
  void SetUp() override {
    ProgramTest::SetUp();
    ASSERT_EQ(train("first", {}), 0) << content_of("../err");
  }

  int train(const std::string& run_name, std::vector<std::string> more, std::int64_t steps = 6) const {
    std::vector<std::string> arguments = {"train", std::string(LOCKSTEP_SOURCE_DIR) + "/examples/digits-mlp.toml",
                                          "--run", run_name, "--set", "train.steps=" + std::to_string(steps)};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run(arguments);
  }
  static std::string sha256_of(const std::string& run_name) {
    return read_summary(run_name + "/summary.json").parameters_sha256;
  }

  // Another task for the layers but the last one, which stay as they are.
  const std::vector<std::string> transfer_ = {"--set", "layer.4.units=12",
                                              "--set", "train.initial_weights.from=first",
                                              "--set", "train.initial_weights.except=dense_2",
                                              "--set", R"(train.freeze=["dense", "dense_1"])"};
};

TEST_F(TransferTest, BeginsWithTheWeightsOfARun) {
  ASSERT_EQ(train("second", transfer_), 0) << content_of("../err");
  EXPECT_NE(content_of("../out").find("begins with 4 tensors of first/checkpoints/step-00000006; anew: dense_2\n"),
            std::string::npos)
      << content_of("../out");
  // Frozen and taken over: what differs is the head alone.
  EXPECT_EQ(run({"checkpoint", "export", "first", "--output", "first.h5"}), 0);
  EXPECT_EQ(run({"checkpoint", "export", "second", "--output", "second.h5"}), 0);
  EXPECT_NE(run({"checkpoint", "diff", "first.h5", "second.h5"}), 0);
  EXPECT_EQ(content_of("../out"),
            "dense/bias (128): equal\ndense/weight (64, 128): equal\ndense_1/bias (128): equal\n"
            "dense_1/weight (128, 128): equal\ndense_2/bias: shape (10) and (12)\n"
            "dense_2/weight: shape (128, 10) and (128, 12)\n4 tensors are equal, 2 differ: first.h5 and second.h5\n");
}

TEST_F(TransferTest, AResumedRunGoesOnWithItsOwnWeights) {
  std::vector<std::string> more = transfer_;
  more.insert(more.end(), {"--set", "train.learning_rate=0.002"});  // a schedule would depend on the number of steps
  ASSERT_EQ(train("whole", more, 10), 0) << content_of("../err");
  ASSERT_EQ(train("parts", more, 4), 0) << content_of("../err");
  more.push_back("--resume");
  ASSERT_EQ(train("parts", more, 10), 0) << content_of("../err");
  EXPECT_NE(content_of("../out").find("resumed from parts/checkpoints/step-00000004"), std::string::npos)
      << content_of("../out");
  EXPECT_EQ(content_of("../out").find("begins with"), std::string::npos);
  EXPECT_EQ(sha256_of("parts"), sha256_of("whole"));
}

// Nothing to resume from: it begins, and does so with the weights.
TEST_F(TransferTest, ResumingWithoutACheckpointBegins) {
  ASSERT_EQ(train("whole", transfer_), 0) << content_of("../err");
  std::vector<std::string> resumed = transfer_;
  resumed.push_back("--resume");
  ASSERT_EQ(train("resumed", resumed), 0) << content_of("../err");
  EXPECT_NE(content_of("../out").find("begins with"), std::string::npos) << content_of("../out");
  EXPECT_EQ(sha256_of("resumed"), sha256_of("whole"));
}

TEST_F(TransferTest, WhatDoesNotFitIsRefusedBeforeAnythingIsWritten) {
  EXPECT_EQ(train("second", {"--set", "layer.4.units=12", "--set", "train.initial_weights=first"}), 2);
  EXPECT_EQ(content_of("../err"),
            "lockstep: first/checkpoints/step-00000006: does not fit the model; of another shape: dense_2/bias (10) (the "
            "model's is (12)), dense_2/weight (128, 10) (the model's is (128, 12)); to begin without these layers, add to "
            "train.initial_weights.except: \"dense_2\"\n");
  EXPECT_EQ(train("second", {"--set", "layer.4.units=12", "--set", "train.initial_weights=first", "--dry-run"}), 2);
  EXPECT_EQ(train("second", {"--set", "train.initial_weights=first", "--dry-run"}), 0);
  EXPECT_EQ(train("second", {"--set", R"(train.freeze="dense*")"}), 2);
  EXPECT_NE(content_of("../err").find("every layer with parameters is frozen"), std::string::npos);
  EXPECT_FALSE(std::filesystem::exists("second"));
}

}  // namespace
}  // namespace lockstep
