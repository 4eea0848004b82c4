// Files that are read whole and written so that nobody sees half of them.
#include "core/base/file.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cerrno>

#include "core/base/error.h"
#include "tests/core/temporary_directory.h"

namespace lockstep {
namespace {

TEST(File, WritesReadsAndReplaces) {
  const TemporaryDirectory directory;
  const std::string path = directory.path("a/b/c.txt");
  local_files().make_directories(directory_of(path));
  local_files().write_atomic(path, "first");
  EXPECT_EQ(local_files().read(path), "first");
  const std::string long_text(100000, 'x');
  local_files().write_atomic(path, long_text);
  EXPECT_EQ(local_files().read(path), long_text);
  EXPECT_EQ(file_size(path), 100000u);
  EXPECT_EQ(list_files(directory_of(path)), std::vector<std::string>{"c.txt"});
  local_files().remove(directory.path("a"));
  EXPECT_FALSE(is_directory(directory.path("a")));
  EXPECT_NO_THROW(local_files().remove(directory.path("a")));
}

TEST(File, ReadsFilesThatHaveNoSize) {
  EXPECT_NE(local_files().read("/proc/self/status").find("Pid:"), std::string::npos);
}

TEST(File, NamesPathActionAndReason) {
  const TemporaryDirectory directory;
  const std::string path = directory.path("missing.txt");
  try {
    local_files().read(path);
    FAIL() << "a missing file was read";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kBadInput);
    EXPECT_EQ(std::string(error.what()), path + ": cannot open: No such file or directory");
  }
  local_files().write_atomic(directory.path("file"), "");
  EXPECT_THROW(local_files().make_directories(directory.path("file/below")), Error);
  EXPECT_THROW(local_files().make_directories(directory.path("file")), Error);
  EXPECT_THROW(file_size(path), Error);
  EXPECT_THROW(list_files(path), Error);
}

// A disk on which `sync` or `write` fails.
class FailingFiles : public FileSystem {
 public:
  explicit FailingFiles(bool at_write) : at_write_(at_write) {}
  void write(const std::string& path, std::string_view bytes) const override {
    if (at_write_) file_failed(path, "write", ENOSPC);
    FileSystem::write(path, bytes);
  }
  void sync(const std::string& path) const override { file_failed(path, "sync", EIO); }

 private:
  bool at_write_;
};

TEST(File, AFailedWriteLeavesTheOldContentAndNothingElse) {
  const TemporaryDirectory directory;
  const std::string path = directory.path("kept.txt");
  local_files().write_atomic(path, "old");
  for (const bool at_write : {true, false}) {
    try {
      FailingFiles(at_write).write_atomic(path, "new");
      FAIL() << "a failed write went unseen";
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kEnvironment);
    }
    EXPECT_EQ(local_files().read(path), "old");
    EXPECT_EQ(list_files(directory.path("")), std::vector<std::string>{"kept.txt"});
  }
}

}  // namespace
}  // namespace lockstep
