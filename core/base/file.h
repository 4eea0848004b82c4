// The seam between Lockstep and the file system. Everything that reads whole files, or writes files
// that must never be seen half-written, goes through a FileSystem; tests derive from it to make a
// call fail.
//
// Errors name the path, the action and the system's reason. What the user can mend (missing, not
// permitted, not a directory, ...) is bad_input; the rest (disk full, I/O error) is a failed
// environment. All functions may be called from any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace lockstep {

class FileSystem {
 public:
  virtual ~FileSystem() = default;

  // The bytes of a file.
  virtual std::string read(const std::string& path) const;

  // Creates the directory and those above it; fine where it exists.
  virtual void make_directories(const std::string& path) const;

  // Creates an empty file beside `path`, named "<path>.tmp-<random>", and returns its name.
  virtual std::string create_temporary(const std::string& path) const;

  // Replaces the content of an existing file. What was written may be lost until sync().
  virtual void write(const std::string& path, std::string_view bytes) const;

  // Writes into an existing file from byte `offset` on; what else it holds stays.
  virtual void write_at(const std::string& path, std::uint64_t offset,
                        std::string_view bytes) const;

  // Waits until the content of a file, or the entries of a directory, are on the disk.
  virtual void sync(const std::string& path) const;

  // Renames, replacing a file that is there.
  virtual void rename(const std::string& from, const std::string& to) const;

  // Removes a file, or a directory with all that is in it; fine where there is none.
  virtual void remove(const std::string& path) const;

  // Gives a finished temporary its name: sync, rename, sync of the directory. After a crash at any
  // instant `path` is either what it was before or the whole new content.
  void publish(const std::string& temporary, const std::string& path) const;

  // create_temporary, write, publish. The temporary is removed where a call fails.
  void write_atomic(const std::string& path, std::string_view bytes) const;
};

// A file that is open for reading at any place. Threads may share it.
class ReadOnlyFile {
 public:
  // Throws where it cannot be opened; "too many open files" says how to raise the limit.
  explicit ReadOnlyFile(const std::string& path);
  ~ReadOnlyFile();
  ReadOnlyFile(const ReadOnlyFile&) = delete;
  ReadOnlyFile& operator=(const ReadOnlyFile&) = delete;

  const std::string& path() const { return path_; }
  std::uint64_t size() const { return size_; }
  // The bytes [offset, offset + bytes). Throws failed environment where the file has fewer.
  void read(std::uint64_t offset, std::size_t bytes, void* to) const;
  // Tells the system that these bytes are read soon: it may fetch them meanwhile.
  void expect(std::uint64_t offset, std::size_t bytes) const;
  // What the system holds of the file in memory is given up: it is read from the disk again.
  void forget() const;
  // Throws failed environment where the file was written to since it was opened.
  void check_unchanged() const;

 private:
  std::string path_;
  int descriptor_;
  std::uint64_t size_;
  std::int64_t modified_;  // nanoseconds
};

// The file system of this machine. It has no state.
const FileSystem& local_files();

bool is_file(const std::string& path);
bool is_directory(const std::string& path);
std::uint64_t file_size(const std::string& path);  // throws where there is none

// The folder that `path` is in: "." where it names none.
std::string directory_of(const std::string& path);

// Names of the regular files in a directory, sorted.
std::vector<std::string> list_files(const std::string& directory);

// Throws the error of a failed system call: "<path>: cannot <action>: <reason of error>".
[[noreturn]] void file_failed(const std::string& path, const std::string& action, int error);

}  // namespace lockstep
