// Copies into shared memory that go on beside their thread. Here they are made when the thread waits for them, no earlier: a
// wait that is missing leaves the old values.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "core/base/error.h"
#include "tests/emulator/grid.h"

namespace lockstep::emulator {

struct PendingCopy {
  Place by;
  void* to;
  const void* from;
  std::size_t bytes;
};
inline std::vector<PendingCopy>& pending_copies() {
  static thread_local std::vector<PendingCopy> copies;
  return copies;
}
inline bool same_index(const uint3& a, const uint3& b) { return a.x == b.x && a.y == b.y && a.z == b.z; }

}  // namespace lockstep::emulator

// REQUIRES: 4, 8 or 16 bytes, and addresses that are multiples of them.
inline void __pipeline_memcpy_async(void* to, const void* from, std::size_t bytes) {
  const auto misaligned = [bytes](const void* address) { return reinterpret_cast<std::uintptr_t>(address) % bytes != 0; };
  if ((bytes != 4 && bytes != 8 && bytes != 16) || misaligned(to) || misaligned(from)) {
    lockstep::broken_invariant("__pipeline_memcpy_async: expected 4, 8 or 16 bytes at multiples of them, found ", bytes);
  }
  lockstep::emulator::pending_copies().push_back({*lockstep::emulator::running(), to, from, bytes});
}
inline void __pipeline_commit() {}
// For all copies of the calling thread, which is what Lockstep's kernels wait for. What an earlier block never waited for is
// forgotten.
inline void __pipeline_wait_prior(std::size_t) {
  using namespace lockstep::emulator;
  const Place here = *running();
  std::erase_if(pending_copies(), [&](const PendingCopy& copy) {
    if (!same_index(copy.by.block, here.block)) return true;
    if (!same_index(copy.by.thread, here.thread)) return false;
    std::memcpy(copy.to, copy.from, copy.bytes);
    return true;
  });
}
