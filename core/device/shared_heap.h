// Host memory that the other processes of this user on this machine can read in place: what neighbouring workers
// exchange lies here, so it is summed without being sent. One file in memory (memfd) holds all of it; others open
// it through /proc, so nothing is left behind when a process dies.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>

namespace lockstep {

// A place in the shared memory of a process, for others: the block and where in it.
struct SharedRef {
  std::uint64_t block = 0;        // begin of the block in the file
  std::uint64_t block_bytes = 0;  // its size, whole pages
  std::uint64_t offset = 0;       // from the begin of the block
};

// The owner's side. Thread-safe.
class SharedHeap {
 public:
  // nullptr with the reason in `why` where the system has no such memory.
  static std::unique_ptr<SharedHeap> make(std::string& why);
  ~SharedHeap();
  SharedHeap(const SharedHeap&) = delete;
  SharedHeap& operator=(const SharedHeap&) = delete;

  // Zeroed, on a page. nullptr where there is not enough memory.
  void* allocate(std::size_t bytes);
  void free(void* data);
  // Whether the bytes lie in this heap, and where.
  bool locate(const void* data, SharedRef& ref) const;
  // The file's number in this process: path_of(getpid(), file()) is its name for others.
  int file() const { return file_; }
  static std::string path_of(std::int64_t process, std::int64_t file);

 private:
  explicit SharedHeap(int file) : file_(file) {}
  struct Block {
    std::uint64_t begin = 0, bytes = 0;
  };

  const int file_;
  mutable std::mutex mutex_;
  std::uint64_t end_ = 0;  // of the file; places are never used twice
  std::map<const std::byte*, Block> blocks_;
};

// The memory of another process. Used by one thread at a time.
class PeerMemory {
 public:
  // Throws failed environment where the file cannot be opened.
  explicit PeerMemory(const std::string& path);
  ~PeerMemory();
  PeerMemory(const PeerMemory&) = delete;
  PeerMemory& operator=(const PeerMemory&) = delete;

  // The memory at `ref`; maps its block where it was not yet. Throws failed environment.
  std::byte* at(const SharedRef& ref);

 private:
  struct Mapping {
    void* data = nullptr;
    std::size_t bytes = 0;
  };
  std::string path_;
  int file_ = -1;
  std::map<std::uint64_t, Mapping> mappings_;
};

}  // namespace lockstep
