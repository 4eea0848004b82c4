#include "core/base/file.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <random>
#include <system_error>

#include "core/base/error.h"

namespace lockstep {
namespace {

// A file descriptor, closed with the object.
class Descriptor {
 public:
  Descriptor(const std::string& path, int flags, const std::string& action)
      : number_(::open(path.c_str(), flags | O_CLOEXEC, 0666)) {
    if (number_ < 0) file_failed(path, action, errno);
  }
  ~Descriptor() {
    if (number_ >= 0) ::close(number_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;

  int number() const { return number_; }

  // Closes now; a network file system reports a failed write only here.
  void close(const std::string& path, const std::string& action) {
    const int result = ::close(number_);
    number_ = -1;
    if (result != 0) file_failed(path, action, errno);
  }

 private:
  int number_;
};

bool user_can_mend(int error) {
  return error == ENOENT || error == EACCES || error == EPERM || error == ENOTDIR ||
         error == EISDIR || error == EEXIST || error == EROFS || error == ENAMETOOLONG ||
         error == ELOOP || error == EINVAL;
}

}  // namespace

void file_failed(const std::string& path, const std::string& action, int error) {
  const std::string message =
      text(path, ": cannot ", action, ": ", std::generic_category().message(error));
  throw Error(user_can_mend(error) ? ErrorKind::kBadInput : ErrorKind::kEnvironment, message);
}

std::string FileSystem::read(const std::string& path) const {
  Descriptor file(path, O_RDONLY, "open");
  struct stat status {};
  if (::fstat(file.number(), &status) != 0) file_failed(path, "read", errno);
  std::string bytes;
  bytes.resize(static_cast<std::size_t>(status.st_size));
  std::size_t done = 0;
  while (true) {
    // One byte more than expected, so that the end of the file is seen; pipes have no size at all.
    if (done == bytes.size()) bytes.resize(done + std::max<std::size_t>(done / 2, 4096));
    const ssize_t got = ::read(file.number(), bytes.data() + done, bytes.size() - done);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) file_failed(path, "read", errno);
    if (got == 0) break;
    done += static_cast<std::size_t>(got);
  }
  bytes.resize(done);
  return bytes;
}

void FileSystem::make_directories(const std::string& path) const {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (error) file_failed(path, "make the directory", error.value());
  if (!is_directory(path)) file_failed(path, "make the directory", ENOTDIR);
}

std::string FileSystem::create_temporary(const std::string& path) const {
  std::random_device random;
  char suffix[24];
  std::snprintf(suffix, sizeof(suffix), ".tmp-%08x%08x", random(), random());
  const std::string temporary = path + suffix;
  Descriptor file(temporary, O_WRONLY | O_CREAT | O_EXCL, "create");
  file.close(temporary, "create");
  return temporary;
}

void FileSystem::write(const std::string& path, std::string_view bytes) const {
  Descriptor file(path, O_WRONLY | O_TRUNC, "write");
  while (!bytes.empty()) {
    const ssize_t put = ::write(file.number(), bytes.data(), bytes.size());
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) file_failed(path, "write", errno);
    bytes.remove_prefix(static_cast<std::size_t>(put));
  }
  file.close(path, "write");
}

void FileSystem::write_at(const std::string& path, std::uint64_t offset,
                          std::string_view bytes) const {
  Descriptor file(path, O_WRONLY, "write");
  while (!bytes.empty()) {
    const ssize_t put =
        ::pwrite(file.number(), bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) file_failed(path, "write", errno);
    bytes.remove_prefix(static_cast<std::size_t>(put));
    offset += static_cast<std::uint64_t>(put);
  }
  file.close(path, "write");
}

void FileSystem::sync(const std::string& path) const {
  Descriptor file(path, O_RDONLY, "sync");
  // Some file systems have no sync of directories and say EINVAL.
  if (::fsync(file.number()) != 0 && errno != EINVAL) file_failed(path, "sync", errno);
}

void FileSystem::rename(const std::string& from, const std::string& to) const {
  if (::rename(from.c_str(), to.c_str()) != 0) file_failed(to, "rename " + from + " to it", errno);
}

void FileSystem::remove(const std::string& path) const {
  std::error_code error;
  std::filesystem::remove_all(path, error);
  if (error) file_failed(path, "remove", error.value());
}

void FileSystem::publish(const std::string& temporary, const std::string& path) const {
  sync(temporary);
  rename(temporary, path);
  sync(directory_of(path));
}

void FileSystem::write_atomic(const std::string& path, std::string_view bytes) const {
  const std::string temporary = create_temporary(path);
  try {
    write(temporary, bytes);
    publish(temporary, path);
  } catch (...) {
    ::unlink(temporary.c_str());
    throw;
  }
}

// ---- ReadOnlyFile ------------------------------------------------------------------------------

namespace {

std::int64_t modified_at(const struct stat& status) {
  return std::int64_t{status.st_mtim.tv_sec} * 1'000'000'000 + status.st_mtim.tv_nsec;
}

// A process may open as many files as the system lets it.
void raise_file_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= limit.rlim_max) return;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

}  // namespace

ReadOnlyFile::ReadOnlyFile(const std::string& path)
    : path_(path), descriptor_(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
  if (descriptor_ < 0 && errno == EMFILE) {
    raise_file_limit();
    descriptor_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (descriptor_ < 0 && errno == EMFILE) {
      environment_failed(path, ": cannot open: too many open files; raise the limit (ulimit -n) or "
                               "write fewer, larger files");
    }
  }
  if (descriptor_ < 0) file_failed(path, "open", errno);
  struct stat status {};
  if (::fstat(descriptor_, &status) != 0) {
    const int error = errno;
    ::close(descriptor_);
    file_failed(path, "read", error);
  }
  size_ = static_cast<std::uint64_t>(status.st_size);
  modified_ = modified_at(status);
}

ReadOnlyFile::~ReadOnlyFile() {
  ::close(descriptor_);
}

void ReadOnlyFile::read(std::uint64_t offset, std::size_t bytes, void* to) const {
  auto* out = static_cast<char*>(to);
  for (std::size_t done = 0; done < bytes;) {
    const ssize_t got =
        ::pread(descriptor_, out + done, bytes - done, static_cast<off_t>(offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) file_failed(path_, text("read ", bytes, " bytes at offset ", offset), errno);
    if (got == 0) {
      struct stat status {};
      const bool known = ::fstat(descriptor_, &status) == 0;
      environment_failed(path_, ": ends at byte ", known ? static_cast<std::uint64_t>(status.st_size) : offset + done,
                         ", expected ", bytes, " bytes at offset ", offset, "; was it truncated?");
    }
    done += static_cast<std::size_t>(got);
  }
}

void ReadOnlyFile::expect(std::uint64_t offset, std::size_t bytes) const {
  ::posix_fadvise(descriptor_, static_cast<off_t>(offset), static_cast<off_t>(bytes),
                  POSIX_FADV_WILLNEED);
}

void ReadOnlyFile::forget() const { ::posix_fadvise(descriptor_, 0, 0, POSIX_FADV_DONTNEED); }

void ReadOnlyFile::check_unchanged() const {
  struct stat status {};
  if (::fstat(descriptor_, &status) != 0) file_failed(path_, "read", errno);
  if (static_cast<std::uint64_t>(status.st_size) == size_ && modified_at(status) == modified_) return;
  environment_failed(path_, ": was changed while it was read (", size_, " bytes when it was opened, ",
                     status.st_size, " now); train on files that nobody writes");
}

const FileSystem& local_files() {
  static const FileSystem files;
  return files;
}

bool is_file(const std::string& path) {
  std::error_code error;
  return std::filesystem::is_regular_file(path, error);
}

bool is_directory(const std::string& path) {
  std::error_code error;
  return std::filesystem::is_directory(path, error);
}

std::uint64_t file_size(const std::string& path) {
  std::error_code error;
  const std::uint64_t size = std::filesystem::file_size(path, error);
  if (error) file_failed(path, "read the size", error.value());
  return size;
}

std::string directory_of(const std::string& path) {
  const std::string parent = std::filesystem::path(path).parent_path().string();
  return parent.empty() ? "." : parent;
}

std::vector<std::string> list_files(const std::string& directory) {
  std::error_code error;
  std::vector<std::string> names;
  for (std::filesystem::directory_iterator entry(directory, error), end; !error && entry != end;
       entry.increment(error)) {
    if (is_file(entry->path().string())) names.push_back(entry->path().filename().string());
  }
  if (error) file_failed(directory, "list the directory", error.value());
  std::ranges::sort(names);
  return names;
}

}  // namespace lockstep
