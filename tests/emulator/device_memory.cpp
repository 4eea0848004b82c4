#include "tests/emulator/device_memory.h"

#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>

#include "core/base/error.h"
#include "core/device/device.h"
#include "tests/emulator/grid.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(data, bytes) (static_cast<void>(data), static_cast<void>(bytes))
#define ASAN_UNPOISON_MEMORY_REGION(data, bytes) (static_cast<void>(data), static_cast<void>(bytes))
#endif

namespace lockstep {
namespace {

constexpr std::size_t kPage = 4096;

std::size_t rounded_up(std::size_t bytes, std::size_t unit) { return (bytes + unit - 1) / unit * unit; }

// ---- What a segmentation fault was ---------------------------------------------------------------

struct sigaction before_us;

void explain(int signal, siginfo_t* fault, void*) {
  const emulator::Place* place = emulator::running();
  char line[256];
  int length;
  if (place != nullptr) {
    length = std::snprintf(line, sizeof line,
                           "emulated GPU: thread (%u, %u, %u) of block (%u, %u, %u) touches %p, which is not its memory\n",
                           place->thread.x, place->thread.y, place->thread.z, place->block.x, place->block.y,
                           place->block.z, fault->si_addr);
  } else {
    length = std::snprintf(line, sizeof line,
                           "segmentation fault at %p: perhaps the host touches memory of the emulated GPU\n",
                           fault->si_addr);
  }
  [[maybe_unused]] const auto written = write(STDERR_FILENO, line, static_cast<std::size_t>(length));
  sigaction(signal, &before_us, nullptr);  // and meets the fault again
}

void explain_faults() {
  static std::once_flag once;
  std::call_once(once, [] {
    struct sigaction action = {};
    action.sa_sigaction = explain;
    action.sa_flags = SA_SIGINFO;
    sigaction(SIGSEGV, &action, &before_us);
  });
}

}  // namespace

DeviceMemory::DeviceMemory() { explain_faults(); }

DeviceMemory::~DeviceMemory() {
  while (!blocks_.empty()) free(blocks_.begin()->first);
}

void* DeviceMemory::allocate(std::size_t bytes) {
  const std::size_t size = rounded_up(bytes, kPage);
  void* mapped = mmap(nullptr, size + kPage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapped == MAP_FAILED) return nullptr;
  auto* pages = static_cast<std::byte*>(mapped);
  std::byte* data = pages + size - rounded_up(bytes, kMemoryAlignment);
  ASAN_POISON_MEMORY_REGION(pages, size);
  ASAN_UNPOISON_MEMORY_REGION(data, bytes);
  blocks_[data] = {pages, size};
  if (opened_ > 0) protect(PROT_READ | PROT_WRITE);
  return data;
}

void DeviceMemory::free(void* data) {
  const auto found = blocks_.find(data);
  const Block block = found->second;
  blocks_.erase(found);
  ASAN_UNPOISON_MEMORY_REGION(block.pages, block.bytes);
  munmap(block.pages, block.bytes + kPage);
}

void DeviceMemory::open() {
  if (opened_++ == 0) protect(PROT_READ | PROT_WRITE);
}

void DeviceMemory::close() {
  if (--opened_ == 0) protect(PROT_NONE);
}

void DeviceMemory::protect(int protection) {
  for (const auto& [data, block] : blocks_) {
    require(mprotect(block.pages, block.bytes, protection) == 0, "mprotect failed");
  }
}

void* allocate_staging(std::size_t bytes) {
  const std::size_t size = rounded_up(bytes, kMemoryAlignment);
  void* data = std::aligned_alloc(kMemoryAlignment, size);
  if (data == nullptr) return nullptr;
  std::memset(data, 0, size);
  ASAN_POISON_MEMORY_REGION(static_cast<std::byte*>(data) + bytes, size - bytes);
  return data;
}

void free_staging(void* data, std::size_t bytes) {
  ASAN_UNPOISON_MEMORY_REGION(data, rounded_up(bytes, kMemoryAlignment));
  std::free(data);
}

}  // namespace lockstep
