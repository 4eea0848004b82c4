#include "datasets/import/input_file.h"

#include <fcntl.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <vector>

#include "core/base/error.h"

namespace lockstep {
namespace {

constexpr std::size_t kBlock = std::size_t{1} << 20;

struct CloseGzip {
  void operator()(gzFile file) const { gzclose(file); }
};
using Gzip = std::unique_ptr<gzFile_s, CloseGzip>;

Gzip open_gzip(const std::string& path) {
  Gzip file(gzopen(path.c_str(), "rbe"));
  if (!file) file_failed(path, "open", errno);
  return file;
}

// Why gzread failed.
[[noreturn]] void gzip_failed(const std::string& path, gzFile file) {
  int code = 0;
  const std::string reason = gzerror(file, &code);
  if (code == Z_ERRNO) file_failed(path, "read", errno);
  bad_input(path, ": cannot be unpacked: ",
            code == Z_BUF_ERROR ? "it is truncated" : "its gzip data is damaged (" + reason + ")");
}

bool is_gzip(const ReadOnlyFile& file) {
  unsigned char magic[2] = {0, 0};
  if (file.size() >= sizeof(magic)) file.read(0, sizeof(magic), magic);
  return magic[0] == 0x1f && magic[1] == 0x8b;
}

}  // namespace

Spool::Spool(const std::string& folder) : folder_(folder) {
  std::string name = folder + "/.lockstep-XXXXXX";
  descriptor_ = ::mkostemp(name.data(), O_CLOEXEC);
  if (descriptor_ < 0) file_failed(folder, "create a temporary file in", errno);
  ::unlink(name.c_str());
}

Spool::~Spool() {
  ::close(descriptor_);
}

void Spool::append(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t put =
        ::pwrite(descriptor_, bytes.data(), bytes.size(), static_cast<off_t>(size_));
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) file_failed(folder_, "write a temporary file in", errno);
    size_ += static_cast<std::uint64_t>(put);
    bytes = bytes.subspan(static_cast<std::size_t>(put));
  }
}

void Spool::read(std::uint64_t offset, std::size_t bytes, void* to) const {
  require(offset + bytes <= size_, "a spool of ", size_, " bytes is read to ", offset + bytes);
  auto* out = static_cast<char*>(to);
  while (bytes > 0) {
    const ssize_t got = ::pread(descriptor_, out, bytes, static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) file_failed(folder_, "read a temporary file in", got < 0 ? errno : EIO);
    out += got;
    offset += static_cast<std::uint64_t>(got);
    bytes -= static_cast<std::size_t>(got);
  }
}

InputFile::InputFile(const std::string& path, const std::string& scratch)
    : path_(path), file_(std::make_unique<ReadOnlyFile>(path)) {
  check_input(!is_directory(path), path, ": is a directory, expected a file");
  if (!is_gzip(*file_)) return;
  spool_ = std::make_unique<Spool>(scratch);
  const Gzip packed = open_gzip(path);
  std::vector<std::byte> block(kBlock);
  while (true) {
    const int got = gzread(packed.get(), block.data(), static_cast<unsigned>(block.size()));
    if (got < 0) gzip_failed(path, packed.get());
    if (got == 0) break;
    spool_->append(std::span(block).first(static_cast<std::size_t>(got)));
  }
  int code = 0;
  gzerror(packed.get(), &code);
  if (code != Z_OK && code != Z_STREAM_END) gzip_failed(path, packed.get());
}

InputFile::InputFile(const std::string& path, std::unique_ptr<Spool> content)
    : path_(path), spool_(std::move(content)) {}

void InputFile::read(std::uint64_t offset, std::size_t bytes, void* to) const {
  check_input(offset <= size() && bytes <= size() - offset, path_, ": truncated: it has ", size(),
              " bytes, expected at least ", offset + bytes);
  if (spool_) {
    spool_->read(offset, bytes, to);
  } else {
    file_->read(offset, bytes, to);
  }
}

std::string InputFile::content(std::uint64_t most) const {
  check_input(size() <= most, path_, ": has ", size(), " bytes, expected at most ", most);
  std::string out(static_cast<std::size_t>(size()), '\0');
  read(0, out.size(), out.data());
  return out;
}

std::string head_of(const std::string& path, std::size_t bytes) {
  if (is_directory(path)) return "";
  const Gzip file(gzopen(path.c_str(), "rbe"));  // reads files that are not packed as they are
  std::string out(bytes, '\0');
  const int got = file ? gzread(file.get(), out.data(), static_cast<unsigned>(bytes)) : 0;
  out.resize(static_cast<std::size_t>(std::max(got, 0)));
  return out;
}

}  // namespace lockstep
