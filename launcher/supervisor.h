// Watches over one mpirun after another: passes on what the workers say, makes a signal a wish for
// a checkpoint, and sees to it that each mpirun ends, with all that it has started. Used by one
// thread; one object a process.
#pragma once

#include <chrono>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "launcher/blame.h"
#include "launcher/child_process.h"
#include "launcher/mpirun.h"
#include "launcher/signal_stream.h"

namespace lockstep {

// How one mpirun ended.
struct Attempt {
  int code = 0;       // kExit..., or what mpirun gave
  std::string how;    // "the run ended with exit code 137"; empty where a worker's line says all
  std::string cause;  // mpirun's words, where no worker has told an error
  std::string line;   // the worker's, without "lockstep: "; empty where none has told an error
  Blame blame;
  bool lost_host = false;  // blame.host: it is down, or the network to it is cut
};

struct SupervisorOptions {
  bool trains = false;   // a checkpoint can be wished for
  bool verbose = false;  // all that mpirun says is passed on
};

class Supervisor {
 public:
  explicit Supervisor(const SupervisorOptions& options) : options_(options) {}
  // Nothing is left of what was started.
  ~Supervisor();
  Supervisor(const Supervisor&) = delete;
  Supervisor& operator=(const Supervisor&) = delete;

  // Runs mpirun. Returns when the workers have ended; where they told a fault and all run on this
  // machine (`all_here`), mpirun itself may still be ending: it sleeps for a second, which a
  // restart need not wait for.
  Attempt run(const std::vector<std::string>& words, bool all_here);

  // False where a signal has come meanwhile.
  bool pause(double seconds);

  bool asked_to_end() const { return wishes_ > 0; }

 private:
  struct Watch;

  void end_on_wish(ChildProcess& child, int signal, Watch& watch);
  void wait(const ChildProcess& child, double seconds) const;
  std::string watch_over(ChildProcess& child, MpirunWords& said, Watch& watch);
  void finish_earlier(double seconds);

  const SupervisorOptions options_;
  const std::set<pid_t> inherited_ = living_children();  // not ours to end
  SignalStream signals_;
  int wishes_ = 0;
  std::unique_ptr<ChildProcess> ending_;  // an mpirun whose workers have ended
  std::chrono::steady_clock::time_point ending_since_;
};

}  // namespace lockstep
