// SIGTERM, SIGINT and SIGUSR1 as a wish to stop: the training goes on to an agreed step, writes a checkpoint and ends with
// exit code 75. A second signal ends the process at once.
#pragma once

namespace lockstep {

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
