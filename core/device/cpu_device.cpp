#include "core/device/cpu_device.h"

#include <omp.h>
#include <sys/mman.h>

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>

#include "core/base/error.h"
#include "core/base/machine.h"

namespace lockstep {
namespace {

constexpr std::size_t kHugePage = std::size_t{2} << 20;

std::size_t rounded_up(std::size_t bytes, std::size_t unit) {
  return (bytes + unit - 1) / unit * unit;
}

}  // namespace

CpuDevice::CpuDevice(int threads, SharedHeap* heap) : threads_(threads), heap_(heap) {
  require(threads >= 1, "a CPU device with ", threads, " threads");
  omp_set_num_threads(threads);
}

std::string CpuDevice::name() const {
  std::ifstream in("/proc/cpuinfo");
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with("model name")) return line.substr(line.find(':') + 2);
  }
  return "cpu";
}

std::size_t CpuDevice::memory_limit() const { return available_memory(); }

void CpuDevice::copy_in(void* device_to, const void* host_from, std::size_t bytes) {
  if (bytes > 0) std::memcpy(device_to, host_from, bytes);
}

void CpuDevice::copy_out(void* host_to, const void* device_from, std::size_t bytes) {
  if (bytes > 0) std::memcpy(host_to, device_from, bytes);
}

void* CpuDevice::allocate_bytes(std::size_t bytes, MemoryKind kind) {
  if (kind == MemoryKind::kShared && heap_ != nullptr) return heap_->allocate(bytes);
  // Large blocks start on a huge page: fewer misses of the TLB in matrix products.
  const bool huge = bytes >= kHugePage;
  const std::size_t alignment = huge ? kHugePage : kMemoryAlignment;
  const std::size_t rounded = rounded_up(bytes, alignment);
  void* data = std::aligned_alloc(alignment, rounded);
  if (data == nullptr) return nullptr;
  if (huge) madvise(data, rounded, MADV_HUGEPAGE);
  std::memset(data, 0, bytes);
  return data;
}

void CpuDevice::free_bytes(void* data, std::size_t, MemoryKind kind) {
  if (kind == MemoryKind::kShared && heap_ != nullptr) {
    heap_->free(data);
  } else {
    std::free(data);
  }
}

}  // namespace lockstep
