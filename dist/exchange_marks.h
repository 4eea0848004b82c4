// How far the GPU has come with its exchanges: when an exchange begins on its stream it leaves a mark where the host sees
// it, so that a host that waits in vain can say for what. Part of the GPU's module.
#pragma once

#include <cstdint>
#include <vector>

#include "core/kernel/kernel.h"

namespace lockstep {

class ExchangeMarks {
 public:
  // `device` outlives the object.
  explicit ExchangeMarks(Device& device);

  // The number of exchanges that are called `what` (a literal). For mark().
  std::uint32_t number_of(const char* what);
  // Queues the mark.
  void mark(const Launch& on, std::uint32_t number) const;

  // The exchange that began last, and how many seconds ago that was seen first; no name where there was none yet. Whoever
  // waits asks often: an exchange is as old as the first answer that names it. `now` as of monotonic_nanoseconds().
  struct Last {
    const char* what = nullptr;
    double seconds = 0;
  };
  Last last(std::int64_t now);

 private:
  Memory counter_;  // u64 of the device: marks so far
  Memory shown_;    // u64 of the host: the counter's lower half, then the number
  std::vector<const char*> names_;  // by number - 1
  std::uint64_t seen_ = 0;
  std::int64_t since_ = 0;
};

}  // namespace lockstep
