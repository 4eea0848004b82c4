// Run directories: what is made, what is refused, and what is removed.
#include "launcher/run_directory.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>

#include "core/base/error.h"
#include "tests/core/temporary_directory.h"
#include "tests/launcher/message.h"

namespace lockstep {
namespace {

class RunDirectoryTest : public ::testing::Test {
 protected:
  // A directory with everything a run leaves, and a file of the user's.
  std::string finished_run() {
    const RunDirectory run = RunDirectory::create(root_.path("run"), ExistingRun::kRefuse);
    for (const std::string& path :
         {run.config(), run.log(), run.evaluation(), run.summary(), run.failure(), run.report(),
          run.path() + "/events.out.tfevents.1.host.2.0", run.path() + "/notes.txt"}) {
      local_files().write_atomic(path, "x");
    }
    local_files().make_directories(run.checkpoints() + "/step-00000001");
    return run.path();
  }

  std::vector<std::string> entries(const std::string& path) {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(path)) {
      names.push_back(entry.path().filename().string());
    }
    std::ranges::sort(names);
    return names;
  }

  TemporaryDirectory root_;
};

TEST_F(RunDirectoryTest, IsMadeWithItsParents) {
  const std::string path = root_.path("a b/c/run");
  const RunDirectory run = RunDirectory::create(path + "/", ExistingRun::kRefuse);
  EXPECT_EQ(run.path(), path);
  EXPECT_EQ(run.config(), path + "/config.toml");
  EXPECT_TRUE(is_directory(path));
  EXPECT_TRUE(entries(path).empty());
  EXPECT_FALSE(run.holds_run());
}

TEST_F(RunDirectoryTest, AnEmptyOneOrOneWithOtherFilesIsTaken) {
  const std::string path = root_.path("run");
  local_files().make_directories(path);
  local_files().write_atomic(path + "/notes.txt", "x");
  RunDirectory::create(path, ExistingRun::kRefuse);
  EXPECT_EQ(entries(path), std::vector<std::string>{"notes.txt"});
}

TEST_F(RunDirectoryTest, OneThatHoldsARunIsRefusedAndLeftAlone) {
  const std::string path = finished_run();
  const auto before = entries(path);
  EXPECT_EQ(refused([&] { RunDirectory::create(path, ExistingRun::kRefuse); }),
            path +
                ": holds a run already; go on with --resume, replace it with --overwrite, or name "
                "another directory with --run");
  EXPECT_EQ(entries(path), before);
}

TEST_F(RunDirectoryTest, AnyOneFileMakesItARun) {
  for (const char* name : {"config.toml", "log.jsonl", "summary.json", "checkpoints"}) {
    const std::string path = root_.path(std::string("run-") + name);
    local_files().make_directories(path);
    local_files().write_atomic(path + "/" + name, "x");
    EXPECT_TRUE(RunDirectory(path).holds_run()) << name;
  }
}

TEST_F(RunDirectoryTest, OverwriteRemovesTheRunAndNothingElse) {
  const std::string path = finished_run();
  RunDirectory::create(path, ExistingRun::kOverwrite);
  EXPECT_EQ(entries(path), std::vector<std::string>{"notes.txt"});
}

TEST_F(RunDirectoryTest, ResumeRemovesOnlyHowItEnded) {
  const std::string path = finished_run();
  const RunDirectory run = RunDirectory::create(path, ExistingRun::kResume);
  EXPECT_FALSE(is_file(run.summary()));
  EXPECT_FALSE(is_file(run.failure()));
  for (const std::string& kept : {run.config(), run.log(), run.evaluation()}) {
    EXPECT_TRUE(is_file(kept)) << kept;
  }
  EXPECT_TRUE(is_directory(run.checkpoints() + "/step-00000001"));
}

TEST_F(RunDirectoryTest, ResumeOfNothingBegins) {
  const std::string path = root_.path("run");
  RunDirectory::create(path, ExistingRun::kResume);
  EXPECT_TRUE(is_directory(path));
}

TEST_F(RunDirectoryTest, WhatIsNoDirectoryIsRefused) {
  const std::string file = root_.path("file");
  local_files().write_atomic(file, "x");
  EXPECT_EQ(refused([&] { RunDirectory::create(file, ExistingRun::kOverwrite); }),
            file + ": expected a directory for the run, found a file");
  EXPECT_EQ(refused([&] { RunDirectory::create(file + "/run", ExistingRun::kRefuse); }),
            file + "/run: cannot make the directory: Not a directory");
  EXPECT_EQ(refused([&] { RunDirectory::create("", ExistingRun::kRefuse); }),
            "the run directory has an empty name");
  EXPECT_EQ(local_files().read(file), "x");
}

// A place where no file can be created.
class ReadOnlyFiles : public FileSystem {
 public:
  std::string create_temporary(const std::string& path) const override {
    file_failed(path, "create", EROFS);
  }
};

TEST_F(RunDirectoryTest, OneThatCannotBeWrittenIsRefusedBeforeAnythingIsRemoved) {
  const std::string path = finished_run();
  const auto before = entries(path);
  EXPECT_EQ(refused([&] { RunDirectory::create(path, ExistingRun::kOverwrite, ReadOnlyFiles()); }),
            path + "/writable: cannot create: Read-only file system");
  EXPECT_EQ(entries(path), before);
}

TEST_F(RunDirectoryTest, OpenWantsARun) {
  const std::string path = finished_run();
  EXPECT_EQ(RunDirectory::open(path).path(), path);
  EXPECT_EQ(refused([&] { RunDirectory::open(root_.path("no")); }),
            root_.path("no") + ": there is no such run directory");
  EXPECT_EQ(refused([&] { RunDirectory::open(path + "/notes.txt"); }),
            path + "/notes.txt: expected a run directory, found a file");
  local_files().make_directories(root_.path("empty"));
  EXPECT_EQ(refused([&] { RunDirectory::open(root_.path("empty")); }),
            root_.path("empty") +
                ": holds no run (it has no config.toml, log.jsonl, summary.json or checkpoints)");
}

}  // namespace
}  // namespace lockstep
