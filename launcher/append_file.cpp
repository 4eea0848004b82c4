#include "launcher/append_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "core/base/error.h"
#include "core/base/file.h"

namespace lockstep {
namespace {

constexpr std::size_t kFull = 64 * 1024;  // bytes
constexpr std::size_t kMost = std::size_t{64} << 20;
constexpr std::chrono::seconds kBehind{1};

}  // namespace

AppendFile::AppendFile(const std::string& path, bool keep)
    : path_(path), flushed_(std::chrono::steady_clock::now()) {
  const int flags = O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | (keep ? 0 : O_TRUNC);
  file_ = ::open(path.c_str(), flags, 0666);
  if (file_ < 0) file_failed(path, "create", errno);
  buffer_.reserve(kFull + kFull / 4);
}

AppendFile::~AppendFile() {
  try {
    flush();
  } catch (const Error&) {  // a destructor has nobody to tell
  }
  ::close(file_);
}

void AppendFile::commit() {
  const bool is_due = std::chrono::steady_clock::now() - flushed_ >= kBehind;
  if (!is_due && (buffer_.size() < kFull || !problem_.empty())) return;
  write_out();
  if (buffer_.size() > kMost) environment_failed(problem_);
}

void AppendFile::flush() {
  write_out();
  if (!problem_.empty()) environment_failed(problem_);
}

void AppendFile::write_out() {
  std::size_t done = 0;
  problem_.clear();
  while (done < buffer_.size() && problem_.empty()) {
    const ssize_t put = ::write(file_, buffer_.data() + done, buffer_.size() - done);
    if (put >= 0) {
      done += static_cast<std::size_t>(put);
    } else if (errno != EINTR) {
      problem_ = text(path_, ": cannot write: ", std::strerror(errno));
    }
  }
  buffer_.erase(0, done);
  flushed_ = std::chrono::steady_clock::now();
}

}  // namespace lockstep
