// The commands that make datasets, as a user starts them: exit codes, what is printed, what is
// left.
#include <algorithm>

#include "tests/launcher/program_test.h"

namespace lockstep {
namespace {

namespace fs = std::filesystem;

class DataCommandsTest : public ProgramTest {
 protected:
  static std::string fixture(const std::string& name) {
    return std::string(LOCKSTEP_SOURCE_DIR) + "/tests/fixtures/import/" + name;
  }
  std::string out() const { return content_of(folder_ / "out"); }
  std::string err() const { return content_of(folder_ / "err"); }
};

TEST_F(DataCommandsTest, ImportsAndTellsWhatWasWritten) {
  EXPECT_EQ(run({"data", "import", fixture("small-images-idx3-ubyte"), "--output", "d", "--name",
                 "small", "--split", "0.34", "--seed", "3"}),
            0);
  EXPECT_EQ(out().find("3 samples: x u8 (2, 2, 1), y u8 ()\nsmall-train: 2 samples, fingerprint "),
            0u)
      << out();
  EXPECT_NE(out().find("\n  d/small-test-00000-of-00001.h5\n"), std::string::npos) << out();
  EXPECT_EQ(err(), "");  // no progress where there is no terminal
  EXPECT_EQ(run({"data", "info", "d/small-test-*.h5"}), 0);
  EXPECT_EQ(out().find("1 samples, "), 0u) << out();
  EXPECT_EQ(run({"data", "import", fixture("small-images-idx3-ubyte"), "--output", "d", "--name",
                 "small"}),
            2);
  EXPECT_EQ(
      err(),
      "lockstep: d/small-test-00000-of-00001.h5: exists already; give another name or output, "
      "or allow overwriting\n");
}

TEST_F(DataCommandsTest, SynthesizesTheSameWhateverTheShards) {
  std::string fingerprint;
  for (const char* shards : {"1", "4"}) {
    ASSERT_EQ(run({"data", "synthesize", "spirals", "--samples", "100", "--output", shards,
                   "--shards", shards}),
              0);
    const std::string found = out().substr(out().find("fingerprint"), 28);
    if (fingerprint.empty()) fingerprint = found;
    EXPECT_EQ(found, fingerprint);
  }
}

TEST_F(DataCommandsTest, WhatIsWrongIsOneLineAndNothingIsLeft) {
  const std::vector<std::vector<std::string>> wrong = {
      {"import", "absent.csv"},
      {"import", fixture("objects.npy")},
      {"import", fixture("x.npy"), "--label", "y"},
      {"import", fixture("x.npy"), "--format", "csw"},
      {"import", fixture("x.npy"), "--shards", "5"},
      {"synthesize", "spiral"},
      {"synthesize", "sine", "--shuffle"},
  };
  for (std::vector<std::string> arguments : wrong) {
    const std::string what = arguments[1];
    arguments.insert(arguments.begin(), "data");
    arguments.insert(arguments.end(), {"--output", "d"});
    EXPECT_EQ(run(arguments), 2) << what;
    EXPECT_EQ(std::ranges::count(err(), '\n'), 1) << err();
    EXPECT_FALSE(fs::exists("d")) << what;
  }
}

TEST_F(DataCommandsTest, ASignalStopsAndLeavesNothing) {
  const std::string command =
      shell_quoted(LOCKSTEP_PROGRAM) +
      " data synthesize images --samples 100000000 --output d >../out 2>../err </dev/null & "
      "until ls -A d 2>/dev/null | grep -q importing; do sleep 0.05; done; kill -TERM $!; wait $!";
  const int status = std::system(command.c_str());
  EXPECT_EQ(WEXITSTATUS(status), 1);
  EXPECT_EQ(err(), "lockstep: stopped by a signal; nothing was written\n");
  EXPECT_TRUE(fs::is_empty("d"));
}

// The limit ends no process, and the program ends as it should after a failed write.
TEST_F(DataCommandsTest, AFullDiskIsOneLine) {
  const std::string command =
      "ulimit -f 2000; " + shell_quoted(LOCKSTEP_PROGRAM) +
      " data synthesize images --samples 100000 --output d >../out 2>../err";
  const int status = std::system(command.c_str());
  EXPECT_EQ(WEXITSTATUS(status), 1);
  EXPECT_EQ(std::ranges::count(err(), '\n'), 1) << err();
  EXPECT_NE(err().find("images-00000-of-00001.h5: array \"x\""), std::string::npos) << err();
  EXPECT_NE(err().find("File too large"), std::string::npos) << err();
  EXPECT_TRUE(fs::is_empty("d"));
}

}  // namespace
}  // namespace lockstep
