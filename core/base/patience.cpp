#include "core/base/patience.h"

#include <sched.h>

#include <algorithm>
#include <chrono>

namespace lockstep {
namespace {

inline void spin_once() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

constexpr std::chrono::microseconds kFirstSleep{20}, kLongestSleep{300}, kForegroundSleep{50};

}  // namespace

void Patience::pause(unsigned turn) {
  if (background_.load(std::memory_order_relaxed)) {
    sleep(turn);
  } else if (turn < spins_) {
    spin_once();
  } else if (turn < spins_ + kYields) {
    sched_yield();
  } else {
    std::unique_lock lock(mutex_);
    woken_.wait_for(lock, kForegroundSleep);
  }
}

// Longer and longer: a long wait may end a little late, a short one must not.
void Patience::sleep(unsigned turn) {
  const auto longer = kFirstSleep * std::min(turn + 1, 16u);
  std::unique_lock lock(mutex_);
  woken_.wait_for(lock, std::min<std::chrono::microseconds>(longer, kLongestSleep),
                  [this] { return !background_.load(std::memory_order_relaxed); });
}

void Patience::hurry() {
  if (!background_.exchange(false, std::memory_order_relaxed)) return;
  { const std::lock_guard lock(mutex_); }  // it sleeps already, or will see the change
  woken_.notify_all();
}

}  // namespace lockstep
