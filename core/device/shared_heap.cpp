#include "core/device/shared_heap.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "core/base/error.h"

namespace lockstep {

std::unique_ptr<SharedHeap> SharedHeap::make(std::string& why) {
  const int file = memfd_create("lockstep", MFD_CLOEXEC);
  if (file < 0) {
    why = text("memfd_create: ", std::strerror(errno));
    return nullptr;
  }
  return std::unique_ptr<SharedHeap>(new SharedHeap(file));
}

SharedHeap::~SharedHeap() {
  for (const auto& [data, block] : blocks_) munmap(const_cast<std::byte*>(data), block.bytes);
  close(file_);
}

void* SharedHeap::allocate(std::size_t bytes) {
  const std::size_t page = sysconf(_SC_PAGESIZE);
  const std::uint64_t rounded = (bytes + page - 1) / page * page;
  const std::lock_guard lock(mutex_);
  if (ftruncate(file_, static_cast<off_t>(end_ + rounded)) != 0) return nullptr;
  void* data = mmap(nullptr, rounded, PROT_READ | PROT_WRITE, MAP_SHARED, file_, static_cast<off_t>(end_));
  if (data == MAP_FAILED) return nullptr;
  blocks_[static_cast<std::byte*>(data)] = {end_, rounded};
  end_ += rounded;
  return data;
}

void SharedHeap::free(void* data) {
  const std::lock_guard lock(mutex_);
  const auto it = blocks_.find(static_cast<std::byte*>(data));
  require(it != blocks_.end(), "shared memory: a block that is not there was freed");
  munmap(data, it->second.bytes);
  // Others may still have it mapped: the hole gives the memory back all the same.
  fallocate(file_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(it->second.begin),
            static_cast<off_t>(it->second.bytes));
  blocks_.erase(it);
}

bool SharedHeap::locate(const void* data, SharedRef& ref) const {
  const std::lock_guard lock(mutex_);
  const auto* at = static_cast<const std::byte*>(data);
  auto it = blocks_.upper_bound(at);
  if (it == blocks_.begin()) return false;
  --it;
  const auto offset = static_cast<std::uint64_t>(at - it->first);
  if (offset >= it->second.bytes) return false;
  ref = {it->second.begin, it->second.bytes, offset};
  return true;
}

std::string SharedHeap::path_of(std::int64_t process, std::int64_t file) {
  return text("/proc/", process, "/fd/", file);
}

PeerMemory::PeerMemory(const std::string& path) : path_(path), file_(open(path.c_str(), O_RDWR | O_CLOEXEC)) {
  if (file_ < 0) environment_failed(path, ": the memory of a neighbour: ", std::strerror(errno));
}

PeerMemory::~PeerMemory() {
  for (const auto& [begin, mapping] : mappings_) munmap(mapping.data, mapping.bytes);
  close(file_);
}

std::byte* PeerMemory::at(const SharedRef& ref) {
  Mapping& mapping = mappings_[ref.block];
  if (mapping.data == nullptr) {
    void* data = mmap(nullptr, ref.block_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file_,
                      static_cast<off_t>(ref.block));
    if (data == MAP_FAILED) {
      environment_failed(path_, ": mapping ", ref.block_bytes, " bytes of a neighbour: ", std::strerror(errno));
    }
    mapping = {data, ref.block_bytes};
  }
  return static_cast<std::byte*>(mapping.data) + ref.offset;
}

}  // namespace lockstep
