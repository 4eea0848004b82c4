// The CPU as a device: aligned host memory, one stream (the calling thread), and a fixed number of threads
// for the kernels. The bits of some kernels depend on the number of threads, so it is part of the
// configuration (run.threads) and not a property of the machine.
#pragma once

#include <algorithm>
#include <memory>

#include "core/device/device.h"
#include "core/device/shared_heap.h"

namespace lockstep {

class CpuDevice final : public Device {
 public:
  // Sets the number of OpenMP threads of the calling thread to `threads` (>= 1). Shared memory is taken from `heap`,
  // which outlives the device; null where nobody reads it.
  explicit CpuDevice(int threads = 1, SharedHeap* heap = nullptr);

  DeviceKind kind() const override { return DeviceKind::kCpu; }
  std::string name() const override;
  std::size_t memory_limit() const override;  // what the kernel says is available now
  int threads() const { return threads_; }

  bool reads_host_memory() const override { return true; }
  void copy_in(void* device_to, const void* host_from, std::size_t bytes) override;
  void copy_out(void* host_to, const void* device_from, std::size_t bytes) override;
  void synchronize() override {}

 private:
  void* allocate_bytes(std::size_t bytes, MemoryKind kind) override;
  void free_bytes(void* data, std::size_t bytes, MemoryKind kind) override;

  int threads_;
  SharedHeap* heap_;
};

// "oneDNN 2.6.3": what the kernels of the CPU use.
std::string cpu_library();

// Calls body(begin, end) over [0, count) in at most `threads` pieces of at least `grain` items, at once
// where there is one piece. The pieces depend on the arguments only.
template <typename Body>
void parallel_for(int threads, std::int64_t count, std::int64_t grain, const Body& body) {
  const std::int64_t most = std::max<std::int64_t>(1, count / std::max<std::int64_t>(1, grain));
  const int pieces = static_cast<int>(std::min<std::int64_t>(threads, most));
  if (pieces <= 1) {
    if (count > 0) body(std::int64_t{0}, count);
    return;
  }
#pragma omp parallel for num_threads(pieces) schedule(static, 1)
  for (int piece = 0; piece < pieces; ++piece) {
    body(count * piece / pieces, count * (piece + 1) / pieces);
  }
}

}  // namespace lockstep
