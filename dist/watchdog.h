// The watchdog of a worker: nobody waits in silence, and nobody is left behind.
//
// A thread in each worker keeps a connection (TCP) to the watchdog of rank 0, apart from the exchange of data and from
// MPI. Several times a deadline everyone tells what it is doing (Progress). Rank 0 finds out who
//   - is gone: its connection closed without goodbye; at once, with the signal where it is known,
//   - is silent for the deadline: stopped, frozen, or cut off,
//   - keeps others waiting in an exchange for the deadline: the one that has not come there, with what it does,
//   - failed by itself (fail()),
// tells it once, to all, and ends all processes. The others watch rank 0 in the same way; rank 1, which tells of its loss, is
// passed what the rest told.
//
// Packets are of one size; there are W - 1 connections, and each carries about 2 KB a beat.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "core/base/error.h"
#include "core/base/progress.h"
#include "dist/communicator.h"

namespace lockstep {

// A rank as it was heard of last.
struct RankState {
  struct Collective {
    std::uint64_t number = 0;
    std::string what;
    std::uint64_t bytes = 0;
    double begun = 0;    // seconds ago
    double seconds = -1;  // it took; negative: it waits still
  };
  int rank = 0;
  std::string host;
  std::int64_t process = 0;
  Phase phase = Phase::kSetup;
  std::int64_t step = 0;
  double phase_seconds = 0;  // in this phase of this step
  double heard = 0;          // seconds ago
  std::vector<Collective> collectives;  // the last ones, oldest first
};

// What went wrong, as far as can be known.
struct FaultReport {
  RankState culprit;
  std::string why;                // "was killed"; the line is to_string()
  std::vector<RankState> ranks;   // all, as known where it is told

  // "rank 2 on h1 (process 123) was killed in backward of step 120, ..."
  std::string to_string() const;
};

class Watchdog {
 public:
  // All ranks together. `deadline` in seconds. Throws failed environment where the ranks cannot reach each other.
  // `communicator` is used by the constructor only; `progress` outlives the watchdog.
  Watchdog(Communicator& communicator, Progress& progress, double deadline);
  // Says goodbye: this rank ends well, or all end with an error that all know.
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

  // How a fault is told, on the one rank that tells it, by the watchdog's thread, once; then the process ends with
  // exit code 1. Without it the line goes to stderr.
  void on_fault(std::function<void(const FaultReport&)> tell);

  // This rank cannot go on. Does not return: all ranks end, with exit code 1.
  [[noreturn]] void fail(const std::string& why);
  // This rank waited for others in vain; who is to blame is found out. Does not return.
  [[noreturn]] void fail_late(const std::string& why);

 private:
  class Thread;
  std::unique_ptr<Thread> thread_;
};

}  // namespace lockstep
