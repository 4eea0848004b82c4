#include "launcher/append_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <string_view>

#include "core/base/error.h"
#include "core/base/file.h"

namespace lockstep {
namespace {

constexpr std::size_t kFull = 64 * 1024;  // bytes
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
  if (buffer_.size() >= kFull || std::chrono::steady_clock::now() - flushed_ >= kBehind) flush();
}

void AppendFile::flush() {
  std::string_view rest = buffer_;
  int error = 0;
  while (!rest.empty() && error == 0) {
    const ssize_t put = ::write(file_, rest.data(), rest.size());
    if (put >= 0) {
      rest.remove_prefix(static_cast<std::size_t>(put));
    } else if (errno != EINTR) {
      error = errno;
    }
  }
  buffer_.clear();
  flushed_ = std::chrono::steady_clock::now();
  if (error != 0) file_failed(path_, "write", error);
}

}  // namespace lockstep
