// What a user sends to end a run, as a stream to poll. It takes the signals over while it lives;
// made before the process has other threads, one object at a time.
#pragma once

#include <signal.h>

namespace lockstep {

class SignalStream {
 public:
  SignalStream();  // SIGINT, SIGTERM, SIGUSR1, SIGHUP
  ~SignalStream();
  SignalStream(const SignalStream&) = delete;
  SignalStream& operator=(const SignalStream&) = delete;

  int descriptor() const { return descriptor_; }
  // The next one that has come; 0 where there is none.
  int next() const;

 private:
  int descriptor_ = -1;
  sigset_t before_{};
};

}  // namespace lockstep
