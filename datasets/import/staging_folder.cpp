#include "datasets/import/staging_folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <random>
#include <system_error>

#include "core/base/error.h"
#include "core/base/file.h"
#include "core/base/hash.h"

namespace lockstep {
namespace {

namespace fs = std::filesystem;

// True where no process holds the lock: a folder without one was being made, or being removed.
bool is_abandoned(const fs::path& folder) {
  const int lock = ::open((folder / "lock").c_str(), O_RDWR | O_CLOEXEC);
  if (lock < 0) return false;
  const bool free = ::flock(lock, LOCK_EX | LOCK_NB) == 0;
  ::close(lock);
  return free;
}

void remove_abandoned(const std::string& output, const std::string& prefix) {
  std::error_code error;
  std::vector<fs::path> found;
  for (fs::directory_iterator entry(output, error), end; !error && entry != end;
       entry.increment(error)) {
    if (entry->path().filename().string().starts_with(prefix)) found.push_back(entry->path());
  }
  for (const fs::path& folder : found) {
    if (is_abandoned(folder)) fs::remove_all(folder, error);
  }
}

}  // namespace

StagingFolder::StagingFolder(const std::string& output, const std::string& name) : output_(output) {
  const std::string prefix = "." + name + ".importing-";
  remove_abandoned(output, prefix);
  std::random_device random;
  const std::uint64_t number = (std::uint64_t{random()} << 32) | random();
  folder_ = output + "/" + prefix + hex_of(number);
  std::error_code error;
  fs::create_directory(folder_, error);
  if (error) file_failed(folder_, "make the directory", error.value());
  lock_ = ::open(path("lock").c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (lock_ < 0) {
    const int reason = errno;
    fs::remove_all(folder_, error);
    file_failed(path("lock"), "create", reason);
  }
  ::flock(lock_, LOCK_EX | LOCK_NB);  // file systems without locks: nothing is cleaned up there
}

StagingFolder::~StagingFolder() {
  std::error_code ignored;  // an error that led here is on its way
  fs::remove_all(folder_, ignored);
  ::close(lock_);
}

void StagingFolder::publish(const std::vector<std::string>& files) const {
  for (const std::string& file : files) {
    local_files().rename(path(file), (fs::path(output_) / file).string());
  }
  local_files().sync(output_);
}

}  // namespace lockstep
