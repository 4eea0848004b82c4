// SIGTERM, SIGINT and SIGUSR1 as a wish to stop: the training goes on to an agreed step, writes a checkpoint and ends with
// exit code 75. A second signal ends the process at once.
#pragma once

#include <signal.h>

#include <condition_variable>
#include <mutex>
#include <thread>

namespace lockstep {

// A thread that gets these signals, so that no other does. The kernel writes the frame of a handler where the stack
// pointer points, and kernels that oneDNN makes use that register for data: a handler that interrupted one would write
// into the heap.
//
// Made before any other thread: they inherit that the signals are blocked. What the signals do is not changed.
class SignalThread {
 public:
  SignalThread();
  ~SignalThread();
  SignalThread(const SignalThread&) = delete;
  SignalThread& operator=(const SignalThread&) = delete;

 private:
  sigset_t before_{};
  std::mutex mutex_;
  std::condition_variable changed_;
  bool ready_ = false, ending_ = false;
  std::thread thread_;
};

// Takes over the three signals while it lives; one object a process.
class StopSignal {
 public:
  StopSignal();
  ~StopSignal();
  StopSignal(const StopSignal&) = delete;
  StopSignal& operator=(const StopSignal&) = delete;

  bool arrived() const;
};

}  // namespace lockstep
