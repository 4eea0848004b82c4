// What the ranks ask each other now and then while they work side by side: whether one of them wants to stop, and whether
// one is still busy writing. All ranks vote after the same unit of work (a step, a batch of an evaluation), and how many
// units come before the next vote follows from the last one, so it is the same on all: about every 50 ms. Work of another
// kind has a vote of its own.
//
// Used by one thread; all ranks make the same calls.
#pragma once

#include <chrono>
#include <cstdint>

#include "launcher/worker.h"

namespace lockstep {

struct Ballot {
  bool stop = false, busy = false;
};

class Vote {
 public:
  // `worker` outlives it.
  explicit Vote(Worker& worker) : worker_(worker) {}

  // A unit of work is done. Whether the ranks vote now; in a world of one always, for it costs nothing.
  bool due();
  // What any rank said. REQUIRES: due() has just said true.
  Ballot cast(const Ballot& mine);

 private:
  using Clock = std::chrono::steady_clock;

  Worker& worker_;
  std::int64_t units_ = 0, units_between_ = 1;
  Clock::time_point last_ = Clock::now();
};

}  // namespace lockstep
