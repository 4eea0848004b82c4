// How a thread waits for something that another process or thread will change in memory: it looks again and again, and
// between two looks it pauses. In a hurry it spins, then gives its core away for moments; in the background it sleeps,
// because the core belongs to a thread that computes.
//
// One object for each thread that waits in this way; hurry() and relax() may be called by any thread and take effect
// at once.
#pragma once

#include <atomic>
#include <condition_variable>
#include <mutex>

namespace lockstep {

class Patience {
 public:
  // `may_spin`: there is a core for each thread that waits or computes.
  explicit Patience(bool may_spin = true) : spins_(may_spin ? kSpins : 0) {}

  // `turn` counts the looks of this wait from 0.
  void pause(unsigned turn);

  // Somebody waits for what this thread waits for.
  void hurry();
  // Nobody does: what it waits for can wait.
  void relax() { background_.store(true, std::memory_order_relaxed); }

 private:
  static constexpr unsigned kSpins = 4000, kYields = 2000;
  void sleep(unsigned turn);

  const unsigned spins_;
  std::atomic<bool> background_{false};
  std::mutex mutex_;
  std::condition_variable woken_;
};

}  // namespace lockstep
