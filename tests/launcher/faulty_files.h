// A file system that goes wrong at its n-th call: the call fails, or the process is killed there.
#pragma once

#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <filesystem>
#include <mutex>
#include <set>
#include <utility>
#include <vector>

#include "core/base/file.h"

namespace lockstep::testing {

enum class DiskFault {
  kError,      // the call fails (disk full); of a write, half is done
  kKill,       // the process is killed before the call
  kKillHalf,   // of a write, half is done, then the process is killed; other calls are done
  kPowerLoss,  // what was not synced is lost: the content of files, and the names that files were given
};

// Threads may share it.
class FaultyFiles : public FileSystem {
 public:
  // `at` counts from 1.
  FaultyFiles(DiskFault fault, int at) : fault_(fault), at_(at) {}

  int calls() const { return calls_; }

  void make_directories(const std::string& path) const override {
    if (is_due()) fail(path, "make the directory");
    FileSystem::make_directories(path);
  }
  std::string create_temporary(const std::string& path) const override {
    if (is_due()) fail(path, "create");
    std::string name = FileSystem::create_temporary(path);
    note_written(name);
    return name;
  }
  void write(const std::string& path, std::string_view bytes) const override {
    note_written(path);
    const bool due = is_due();
    FileSystem::write(path, due ? bytes.substr(0, bytes.size() / 2) : bytes);
    if (due) fail(path, "write");
  }
  void write_at(const std::string& path, std::uint64_t offset, std::string_view bytes) const override {
    note_written(path);
    const bool due = is_due();
    FileSystem::write_at(path, offset, due ? bytes.substr(0, bytes.size() / 2) : bytes);
    if (due) fail(path, "write");
  }
  void sync(const std::string& path) const override {
    if (is_due()) fail(path, "sync");
    FileSystem::sync(path);
    const std::lock_guard lock(mutex_);
    unsynced_.erase(path);
    std::erase_if(renamed_, [&](const auto& pair) { return directory_of(pair.second) == path; });
  }
  void rename(const std::string& from, const std::string& to) const override {
    if (is_due()) fail(from, "rename");
    FileSystem::rename(from, to);
    const std::lock_guard lock(mutex_);
    renamed_.emplace_back(from, to);
    if (unsynced_.erase(from) > 0) unsynced_.insert(to);
  }
  void remove(const std::string& path) const override {
    if (is_due()) fail(path, "remove");
    FileSystem::remove(path);
  }

 private:
  // Before a call: dies here where it is to; true where the call is to go wrong half-way.
  bool is_due() const {
    if (++calls_ != at_) return false;
    if (fault_ == DiskFault::kPowerLoss) lose_power();
    if (fault_ == DiskFault::kKill) kill(getpid(), SIGKILL);
    return true;
  }

  [[noreturn]] void fail(const std::string& path, const std::string& action) const {
    if (fault_ == DiskFault::kKillHalf) kill(getpid(), SIGKILL);
    file_failed(path, action, ENOSPC);
  }

  void note_written(const std::string& path) const {
    const std::lock_guard lock(mutex_);
    unsynced_.insert(path);
  }

  // The last rename first. A name that replaced another is not undone: nothing here does that.
  [[noreturn]] void lose_power() const {
    const std::lock_guard lock(mutex_);
    for (const std::string& path : unsynced_) {
      std::error_code gone;
      std::filesystem::resize_file(path, 0, gone);
    }
    for (auto pair = renamed_.rbegin(); pair != renamed_.rend(); ++pair) {
      std::error_code gone;
      std::filesystem::rename(pair->second, pair->first, gone);
    }
    kill(getpid(), SIGKILL);
    _exit(1);
  }

  DiskFault fault_;
  int at_;
  mutable std::atomic<int> calls_{0};
  mutable std::mutex mutex_;
  mutable std::set<std::string> unsynced_;
  mutable std::vector<std::pair<std::string, std::string>> renamed_;
};

}  // namespace lockstep::testing
