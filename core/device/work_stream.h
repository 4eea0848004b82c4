// A stream of work on the CPU: a thread that runs what is submitted, in order, beside the thread that submits. The
// communication stream of a worker: it waits for other workers while the worker computes.
//
// submit() and wait() are called by one thread. What is submitted must live until it has run.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#include "core/base/patience.h"

namespace lockstep {

class WorkStream {
 public:
  struct Work {
    void (*run)(void* context, std::size_t index) = nullptr;
    void* context = nullptr;
    std::size_t index = 0;
  };
  using Ticket = std::uint64_t;  // counts what was submitted, from 1

  // The thread starts with the first work. `patience`: how the work waits; it is hurried while somebody waits for the
  // work and relaxed while nobody does. It outlives the stream.
  explicit WorkStream(Patience& patience) : patience_(patience) {}
  // Waits for everything.
  ~WorkStream();
  WorkStream(const WorkStream&) = delete;
  WorkStream& operator=(const WorkStream&) = delete;

  Ticket submit(const Work& work);
  // The ticket of the last work.
  Ticket submitted() const { return submitted_; }
  bool done(Ticket ticket) const { return done_.load(std::memory_order_acquire) >= ticket; }
  // Returns when that work and everything before it is done; throws what the first work that failed threw. After a
  // failure nothing more is run.
  void wait(Ticket ticket);
  void wait_for_all() { wait(submitted_); }
  // Waits for everything; what the calling thread then does itself in the stream's place waits in a hurry.
  void take_over();
  // Nanoseconds that the thread was at work since this was asked last.
  std::int64_t take_busy_nanoseconds() { return busy_.exchange(0, std::memory_order_relaxed); }

 private:
  static constexpr std::size_t kCapacity = 1024;
  void run();

  Patience& patience_;
  std::thread thread_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Work> queue_;  // a ring: work of ticket t at t % kCapacity
  Ticket submitted_ = 0;     // changed under the mutex
  std::atomic<Ticket> done_{0};
  std::atomic<std::int64_t> busy_{0};
  bool waiting_ = false, ending_ = false;
  std::exception_ptr failure_;
};

}  // namespace lockstep
