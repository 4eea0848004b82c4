// The checkpoint commands as a user starts them, on one small run that is trained once.
#include <fstream>

#include "tests/launcher/program_test.h"

namespace lockstep {
namespace {

namespace fs = std::filesystem;

class CheckpointCommandsTest : public ProgramTest {
 protected:
  // Two epochs of 12 steps, each with a checkpoint.
  void SetUp() override {
    ProgramTest::SetUp();
    ASSERT_EQ(run({"train", kConfig, "--run", "r", "--set", "train.epochs=2", "--set", "train.global_batch=128", "--quiet"}), 0) << err();
  }
  std::string out() const { return content_of(folder_ / "out"); }
  std::string err() const { return content_of(folder_ / "err"); }
  // Changes a byte in the middle of a file.
  static void damage(const fs::path& path) {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(static_cast<std::streamoff>(fs::file_size(path) / 2));
    file.put('\x55');
  }

  const std::string kConfig = std::string(LOCKSTEP_SOURCE_DIR) + "/examples/digits-mlp.toml";
  const std::string kOne = "r/checkpoints/step-00000012", kTwo = "r/checkpoints/step-00000024";
};

TEST_F(CheckpointCommandsTest, ListAndVerifyNameWhatIsBroken) {
  EXPECT_EQ(run({"checkpoint", "list", "r"}), 0);
  EXPECT_NE(out().find("        24  "), std::string::npos) << out();
  EXPECT_NE(out().find("whole  accuracy "), std::string::npos) << out();
  EXPECT_EQ(run({"checkpoint", "verify", "r"}), 0);
  EXPECT_NE(out().find("whole   " + kTwo + "/part-0000.h5 ("), std::string::npos) << out();

  damage(kTwo + "/part-0000.h5");
  const std::string why = kTwo + "/part-0000.h5: its checksum does not match the manifest";
  EXPECT_EQ(run({"checkpoint", "verify", "r"}), 1);
  EXPECT_NE(out().find("broken  " + why + "\n"), std::string::npos) << out();
  EXPECT_EQ(run({"checkpoint", "verify", "r", "--checkpoint", "newest"}), 1);
  EXPECT_EQ(run({"checkpoint", "verify", "r", "--checkpoint", "12"}), 0);
  EXPECT_EQ(run({"checkpoint", "list", "r"}), 0);
  EXPECT_NE(out().find("broken: " + why), std::string::npos) << out();
  EXPECT_EQ(run({"checkpoint", "list", "r", "--quick"}), 0);
  EXPECT_EQ(out().find("broken"), std::string::npos) << out();

  fs::remove(kOne + "/part-0000.h5");
  EXPECT_EQ(run({"checkpoint", "list", "r", "--quick"}), 0);
  EXPECT_NE(out().find("broken: " + kOne + "/part-0000.h5: is missing"), std::string::npos) << out();
  EXPECT_EQ(run({"checkpoint", "verify", "r", "--checkpoint", "13"}), 2);
  EXPECT_EQ(err(), "lockstep: r/checkpoints: has no checkpoint of step 13; there are those of 12, 24\n");
}

TEST_F(CheckpointCommandsTest, DiffIsLikeDiff) {
  EXPECT_EQ(run({"checkpoint", "diff", kTwo, "r"}), 0);  // its newest
  EXPECT_NE(out().find("parameters/dense/bias (128): equal\n"), std::string::npos) << out();
  EXPECT_NE(out().find("tensors are equal, 0 differ"), std::string::npos) << out();
  EXPECT_EQ(run({"checkpoint", "diff", kOne, kTwo}), 1);
  EXPECT_NE(out().find("parameters/dense/bias (128): max abs difference "), std::string::npos) << out();
  EXPECT_EQ(run({"checkpoint", "diff", kOne, kTwo, "--quiet"}), 1);
  EXPECT_EQ(out(), "");
  EXPECT_EQ(run({"checkpoint", "diff", kOne, "nowhere"}), 2);
  EXPECT_EQ(err(), "lockstep: nowhere: there is no such file or directory\n");
}

TEST_F(CheckpointCommandsTest, WhatIsExportedComesBackAsARun) {
  for (const std::string file : {"w.safetensors", "w.h5"}) {
    ASSERT_EQ(run({"checkpoint", "export", "r", "--output", file}), 0) << err();
    EXPECT_EQ(out(), "step 24 in " + file + "\n");
    EXPECT_EQ(run({"checkpoint", "diff", "r", file, "--quiet"}), 0);
    const std::string back = "from-" + file;
    ASSERT_EQ(run({"checkpoint", "import", file, "--config", kConfig, "--run", back, "--set", "train.epochs=1"}), 0) << err();
    EXPECT_EQ(run({"checkpoint", "diff", back, file, "--quiet"}), 0);
    ASSERT_EQ(run({"evaluate", "r"}), 0);
    const std::string metrics = out();
    ASSERT_EQ(run({"evaluate", back}), 0) << err();
    EXPECT_EQ(out(), metrics);
    EXPECT_EQ(run({"checkpoint", "import", file, "--config", kConfig, "--run", back}), 2);
    EXPECT_EQ(err(), "lockstep: " + back + ": holds a run already; name another directory with --run\n");
  }
  ASSERT_EQ(run({"train", "from-w.h5/config.toml", "--run", "from-w.h5", "--resume"}), 0) << err();
  EXPECT_NE(out().find("resumed from from-w.h5/checkpoints/step-00000000\n"), std::string::npos) << out();
  ASSERT_EQ(run({"checkpoint", "export", "r", "--output", "one.safetensors", "--checkpoint", "12", "--quiet"}), 0);
  EXPECT_EQ(run({"checkpoint", "diff", kOne, "one.safetensors", "--quiet"}), 0);
}

TEST_F(CheckpointCommandsTest, WeightsOfAnotherModelLeaveNothing) {
  ASSERT_EQ(run({"checkpoint", "export", "r", "--output", "w.safetensors"}), 0);
  EXPECT_EQ(run({"checkpoint", "import", "w.safetensors", "--config", kConfig, "--run", "other", "--set", "layer.0.units=5"}), 2);
  EXPECT_EQ(err().find("lockstep: w.safetensors: are not the weights of this model: of another shape: dense/bias (128) "
                       "(the model's is (5))"),
            0u)
      << err();
  EXPECT_FALSE(fs::exists("other"));
}

TEST_F(CheckpointCommandsTest, AverageIsWrittenAsAFileOrARun) {
  ASSERT_EQ(run({"checkpoint", "average", kOne, kTwo, "--output", "m.safetensors"}), 0) << err();
  ASSERT_EQ(run({"checkpoint", "average", kOne, kTwo, "--run", "m"}), 0) << err();
  EXPECT_EQ(run({"checkpoint", "diff", "m", "m.safetensors"}), 0) << out();
  EXPECT_EQ(run({"checkpoint", "diff", "r", "m.safetensors", "--quiet"}), 1);
  EXPECT_EQ(run({"evaluate", "m", "--quiet"}), 0) << err();
  EXPECT_EQ(run({"checkpoint", "average", "m.safetensors", "--run", "n"}), 2);
  EXPECT_EQ(run({"checkpoint", "average", kOne, kTwo, "--output", "m.pt"}), 2);
  EXPECT_EQ(err(), "lockstep: m.pt: is not named as a file of weights, expected .safetensors, .h5 or .hdf5\n");
}

TEST_F(CheckpointCommandsTest, ExportsTheModelForOnnx) {
  ASSERT_EQ(run({"checkpoint", "export", "r", "--format", "onnx", "--output", "m.onnx"}), 0) << err();
  const std::string bytes = content_of("m.onnx");
  EXPECT_NE(bytes.find("lockstep"), std::string::npos);
  EXPECT_NE(bytes.find("[\"0\",\"1\",\"2\""), std::string::npos);  // class_names
  ASSERT_EQ(run({"checkpoint", "export", "r", "--output", "again.onnx", "--quiet"}), 0) << err();
  EXPECT_EQ(content_of("again.onnx").size(), bytes.size() + 4);  // but for the name of the graph
  EXPECT_EQ(run({"checkpoint", "export", "r", "--output", "m.pt"}), 2);
}

}  // namespace
}  // namespace lockstep
