#include "tests/emulator/device_memory.h"

#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
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

extern const std::byte __executable_start;  // by the linker
#if defined(__SANITIZE_ADDRESS__)
extern "C" int __sanitizer_get_ownership(const volatile void* address);  // g++ installs no header for it
#endif

namespace lockstep {
namespace {

constexpr std::size_t kPage = 4096;
constexpr std::size_t kNearStack = 1 << 20;  // of the frames that are older than the one that asks

// The end of this thread's stack, behind which memory of anybody may lie.
const std::byte* end_of_stack() {
  pthread_attr_t attributes;
  void* begin = nullptr;
  std::size_t bytes = 0;
  require(pthread_getattr_np(pthread_self(), &attributes) == 0, "pthread_getattr_np failed");
  pthread_attr_getstack(&attributes, &begin, &bytes);
  pthread_attr_destroy(&attributes);
  return static_cast<const std::byte*>(begin) + bytes;
}

std::size_t rounded_up(std::size_t bytes, std::size_t unit) { return (bytes + unit - 1) / unit * unit; }

// Where a block of that size begins in its pages, so that it ends with them.
std::size_t offset_in_pages(std::size_t bytes) { return rounded_up(bytes, kPage) - rounded_up(bytes, kMemoryAlignment); }

// Pages for a block, and one behind it that nobody may touch; zeroed.
std::byte* map_pages(std::size_t bytes, int protection) {
  const std::size_t size = rounded_up(bytes, kPage);
  void* mapped = mmap(nullptr, size + kPage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapped == MAP_FAILED) return nullptr;
  if (mprotect(mapped, size, protection) != 0) {
    munmap(mapped, size + kPage);
    return nullptr;
  }
  auto* pages = static_cast<std::byte*>(mapped);
  ASAN_POISON_MEMORY_REGION(pages, size);
  ASAN_UNPOISON_MEMORY_REGION(pages + offset_in_pages(bytes), bytes);
  return pages;
}

void unmap_pages(std::byte* pages, std::size_t bytes) {
  const std::size_t size = rounded_up(bytes, kPage);
  ASAN_UNPOISON_MEMORY_REGION(pages, size);
  munmap(pages, size + kPage);
}

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
  std::byte* pages = map_pages(bytes, opened_ > 0 ? PROT_READ | PROT_WRITE : PROT_NONE);
  if (pages == nullptr) return nullptr;
  std::byte* data = pages + offset_in_pages(bytes);
  blocks_[data] = {pages, bytes};
  return data;
}

void DeviceMemory::free(void* data) {
  const auto found = blocks_.find(data);
  const Block block = found->second;
  blocks_.erase(found);
  unmap_pages(block.pages, block.bytes);
}

void DeviceMemory::open() {
  if (opened_++ == 0) protect(PROT_READ | PROT_WRITE);
}

void DeviceMemory::close() {
  if (--opened_ == 0) protect(PROT_NONE);
}

void DeviceMemory::protect(int protection) {
  for (const auto& [data, block] : blocks_) {
    require(mprotect(block.pages, rounded_up(block.bytes, kPage), protection) == 0, "mprotect failed");
  }
}

void* allocate_staging(std::size_t bytes) {
  std::byte* pages = map_pages(bytes, PROT_READ | PROT_WRITE);
  return pages == nullptr ? nullptr : pages + offset_in_pages(bytes);
}

void free_staging(void* data, std::size_t bytes) {
  unmap_pages(static_cast<std::byte*>(data) - offset_in_pages(bytes), bytes);
}

bool is_host_memory(const void* address) {
  const auto* byte = static_cast<const std::byte*>(address);
  const auto within = [byte](const void* begin, const void* end) { return byte >= begin && byte < end; };
#if defined(__SANITIZE_ADDRESS__)
  if (__sanitizer_get_ownership(address) != 0) return true;
#endif
  thread_local const std::byte* const end = end_of_stack();
  const auto* here = static_cast<const std::byte*>(__builtin_frame_address(0));
  return within(&__executable_start, sbrk(0)) || within(here, std::min(here + kNearStack, end));
}

}  // namespace lockstep
