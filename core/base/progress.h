// What a worker is doing just now, for whoever watches it from another thread: its phase, its step, and its last
// collectives. Cheap enough to be kept always (a few relaxed stores).
//
// Written by the threads that work: one at a time enters phases, one at a time exchanges. snapshot() may be called by
// any thread at any time; the parts of a snapshot may be a moment apart.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <string_view>
#include <vector>

namespace lockstep {

enum class Phase : std::uint8_t {
  kSetup,
  kData,
  kForward,
  kBackward,
  kExchange,  // waiting for other workers
  kUpdate,
  kEvaluation,
  kCheckpoint,
  kFinish,
};

const char* name_of(Phase phase);

// Nanoseconds of the monotonic clock of this machine.
std::int64_t monotonic_nanoseconds();

// One exchange with other workers. Workers of one run have the same names in the same order.
struct CollectiveRecord {
  std::uint64_t number = 0;      // counts from 1 in each worker
  const char* what = "";         // a string literal
  std::uint64_t bytes = 0;       // that this worker receives
  std::int64_t begun = 0, ended = 0;  // monotonic, to some milliseconds; ended 0: it still waits
};

struct ProgressSnapshot {
  Phase phase = Phase::kSetup;
  std::int64_t step = 0;                      // the one that runs, from 1; 0 before the first
  std::int64_t since = 0;                     // monotonic nanoseconds: when phase or step changed last
  std::vector<CollectiveRecord> collectives;  // the last ones, oldest first
};

class Progress {
 public:
  static constexpr std::size_t kRing = 16;

  Progress();

  void enter(Phase phase) { enter(phase, monotonic_nanoseconds()); }
  void enter(Phase phase, std::int64_t now);
  // A step begins with its data.
  void begin_step(std::int64_t step);
  Phase phase() const { return phase_.load(std::memory_order_relaxed); }

  // Around each wait for other workers. `what` must live for ever (a literal).
  void begin_collective(const char* what, std::uint64_t bytes);
  void end_collective();

  ProgressSnapshot snapshot() const;

 private:
  struct Slot {
    std::atomic<std::uint64_t> number{0};
    std::atomic<const char*> what{""};
    std::atomic<std::uint64_t> bytes{0};
    std::atomic<std::int64_t> begun{0}, ended{0};
  };

  std::atomic<Phase> phase_{Phase::kSetup};
  std::atomic<std::int64_t> step_{0};
  std::atomic<std::int64_t> since_;
  std::atomic<std::uint64_t> collectives_{0};  // begun so far
  std::array<Slot, kRing> ring_;
};

}  // namespace lockstep
