// Files that are imported, read at any place; those that gzip packed are unpacked on the way.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "core/base/file.h"

namespace lockstep {

// Bytes that are written once, from front to back, and read at any place: a file without a name, so
// nothing is left of it whatever happens.
class Spool {
 public:
  // `folder` has room for it.
  explicit Spool(const std::string& folder);
  ~Spool();
  Spool(const Spool&) = delete;
  Spool& operator=(const Spool&) = delete;

  void append(std::span<const std::byte> bytes);
  std::uint64_t size() const { return size_; }
  // REQUIRES: offset + bytes <= size().
  void read(std::uint64_t offset, std::size_t bytes, void* to) const;

 private:
  std::string folder_;
  int descriptor_;
  std::uint64_t size_ = 0;
};

class InputFile {
 public:
  // Throws bad_input where it cannot be opened or unpacked. `scratch` is a folder for a spool.
  InputFile(const std::string& path, const std::string& scratch);
  // Content that was unpacked already; `path` is its name in messages.
  InputFile(const std::string& path, std::unique_ptr<Spool> content);

  const std::string& path() const { return path_; }
  // After unpacking.
  std::uint64_t size() const { return spool_ ? spool_->size() : file_->size(); }
  // Throws bad_input where the file ends before: "PATH: truncated: ...".
  void read(std::uint64_t offset, std::size_t bytes, void* to) const;
  // The whole content. Throws bad_input where it has more than `most` bytes.
  std::string content(std::uint64_t most) const;

 private:
  std::string path_;
  std::unique_ptr<ReadOnlyFile> file_;  // of a file as it is
  std::unique_ptr<Spool> spool_;        // of one that was unpacked
};

// The first bytes of a file, unpacked, at most `bytes`; "" where it cannot be read.
std::string head_of(const std::string& path, std::size_t bytes);

}  // namespace lockstep
