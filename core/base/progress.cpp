#include "core/base/progress.h"

#include <time.h>

#include <algorithm>
#include <chrono>

namespace lockstep {

const char* name_of(Phase phase) {
  switch (phase) {
    case Phase::kSetup: return "setup";
    case Phase::kData: return "data";
    case Phase::kForward: return "forward";
    case Phase::kBackward: return "backward";
    case Phase::kExchange: return "exchange";
    case Phase::kUpdate: return "update";
    case Phase::kEvaluation: return "evaluation";
    case Phase::kCheckpoint: return "checkpoint";
    case Phase::kFinish: return "finish";
  }
  return "unknown";
}

std::int64_t monotonic_nanoseconds() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

namespace {

// Cheaper and good to some milliseconds, which is all that the ring of collectives needs. The same clock as the other.
std::int64_t coarse_nanoseconds() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
  return now.tv_sec * std::int64_t{1'000'000'000} + now.tv_nsec;
}

}  // namespace

Progress::Progress() : since_(monotonic_nanoseconds()) {}

void Progress::enter(Phase phase, std::int64_t now) {
  if (phase_.load(std::memory_order_relaxed) == phase) return;
  phase_.store(phase, std::memory_order_relaxed);
  since_.store(now, std::memory_order_relaxed);
}

void Progress::begin_step(std::int64_t step) {
  step_.store(step, std::memory_order_relaxed);
  phase_.store(Phase::kData, std::memory_order_relaxed);
  since_.store(monotonic_nanoseconds(), std::memory_order_relaxed);
}

void Progress::begin_collective(const char* what, std::uint64_t bytes) {
  const std::uint64_t number = collectives_.load(std::memory_order_relaxed) + 1;
  Slot& slot = ring_[number % kRing];
  slot.number.store(0, std::memory_order_relaxed);  // readers pass over it while it changes
  slot.what.store(what, std::memory_order_relaxed);
  slot.bytes.store(bytes, std::memory_order_relaxed);
  slot.begun.store(coarse_nanoseconds(), std::memory_order_relaxed);
  slot.ended.store(0, std::memory_order_relaxed);
  slot.number.store(number, std::memory_order_release);
  collectives_.store(number, std::memory_order_release);
}

void Progress::end_collective() {
  Slot& slot = ring_[collectives_.load(std::memory_order_relaxed) % kRing];
  slot.ended.store(coarse_nanoseconds(), std::memory_order_release);
}

ProgressSnapshot Progress::snapshot() const {
  ProgressSnapshot out;
  out.phase = phase_.load(std::memory_order_relaxed);
  out.step = step_.load(std::memory_order_relaxed);
  out.since = since_.load(std::memory_order_relaxed);
  for (const Slot& slot : ring_) {
    const CollectiveRecord record{slot.number.load(std::memory_order_acquire),
                                  slot.what.load(std::memory_order_relaxed),
                                  slot.bytes.load(std::memory_order_relaxed),
                                  slot.begun.load(std::memory_order_relaxed),
                                  slot.ended.load(std::memory_order_relaxed)};
    if (record.number != 0) out.collectives.push_back(record);
  }
  std::ranges::sort(out.collectives, {}, &CollectiveRecord::number);
  return out;
}

}  // namespace lockstep
