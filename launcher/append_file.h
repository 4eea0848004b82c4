// A file that records are added to: buffered, and never more than a second behind.
//
// The writer appends a whole record to buffer() and then calls commit(). Used by one thread.
#pragma once

#include <chrono>
#include <string>

namespace lockstep {

class AppendFile {
 public:
  // Opens the file; what it holds is kept or removed. Throws where it cannot be written.
  AppendFile(const std::string& path, bool keep);
  ~AppendFile();  // flushes; a failure is lost here, so call flush() before
  AppendFile(const AppendFile&) = delete;
  AppendFile& operator=(const AppendFile&) = delete;

  std::string& buffer() { return buffer_; }
  // Ends a record: writes the buffer where it is full or a second has passed since it last was. What the disk does not
  // take stays in the buffer and is tried again; only where that is more than 64 MiB it throws.
  void commit();
  // Why the disk did not take all the last time; empty where it did.
  const std::string& problem() const { return problem_; }
  // Writes all. Throws where the disk does not take it; what is left is tried again by the next call.
  void flush();

  const std::string& path() const { return path_; }

 private:
  std::string path_;
  int file_ = -1;
  void write_out();

  std::string buffer_, problem_;
  std::chrono::steady_clock::time_point flushed_;
};

}  // namespace lockstep
