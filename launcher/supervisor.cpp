#include "launcher/supervisor.h"

#include <poll.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <thread>

#include "core/base/clock.h"
#include "core/base/error.h"
#include "launcher/commands.h"

namespace lockstep {
namespace {

using Clock = std::chrono::steady_clock;

// mpirun is ended where it lives on for so long (seconds) ...
constexpr double kAfterLastWorker = 5;  // ... after its last process on this machine
constexpr double kAfterLostHost = 10;   // ... after it has lost a host
constexpr double kAfterFault = 10;      // ... after a watchdog has told a fault, and ended all
constexpr double kAfterError = 30;      // ... after a worker has told an error, which ends them all
constexpr double kAfterTerm = 10;       // ... after it was asked to end
constexpr double kToEnd = 2;            // between SIGTERM, on which it tidies up, and SIGKILL
constexpr double kForOrphans = 2;       // what is left of a run may end by itself for so long
constexpr double kLook = 0.05;          // between two looks at the processes after a fault ...
constexpr double kLookAtAll = 1;        // ... and else

// Since when something is so.
struct Since {
  bool is_so = false;
  Clock::time_point begin = Clock::now();

  void note(bool now_so) {
    if (now_so && !is_so) begin = Clock::now();
    is_so = now_so;
  }
  bool longer_than(double seconds) const { return is_so && seconds_since(begin) > seconds; }
};

void forward(ChildProcess& child, MpirunWords& said) {
  std::string bytes;
  child.read(bytes);
  const std::string out = said.pass(bytes);
  if (out.empty()) return;
  std::fflush(stdout);
  std::fputs(out.c_str(), stderr);
}

Attempt attempt_of(const ExitStatus& status, const std::string& given_up, const MpirunWords& said) {
  Attempt attempt;
  attempt.code = status.signal != 0 || !given_up.empty() ? kExitFailed : status.code;
  attempt.how = !given_up.empty()    ? given_up
                : status.signal != 0 ? text("mpirun died of signal ", status.signal)
                                     : text("the run ended with exit code ", status.code);
  attempt.line = said.told_line();
  attempt.blame = said.blame();
  attempt.cause = said.cause();
  if (said.has_lost_host()) {
    // Whatever the workers told: those of the other hosts were ended by mpirun, because of this.
    attempt.lost_host = !said.lost_host().empty();
    if (attempt.lost_host) {
      attempt.line.clear();
      attempt.cause =
          text("host ", said.lost_host(), " is lost: it is down, or the network to it is cut");
    }
  }
  if (!attempt.line.empty() && given_up.empty()) attempt.how.clear();
  return attempt;
}

}  // namespace

// What mpirun should not outlive for long.
struct Supervisor::Watch {
  bool all_here = true, had_workers = false;
  Clock::time_point looked = Clock::now();
  Since alone, lost_host, fault, error, term;

  void look(const ChildProcess& child, const MpirunWords& said) {
    lost_host.note(said.has_lost_host());
    error.note(said.told());
    fault.note(said.told_fault());
    if (seconds_since(looked) < (fault.is_so ? kLook : kLookAtAll)) return;
    looked = Clock::now();
    const bool has_none = child.descendants().empty();
    had_workers = had_workers || !has_none || fault.is_so;
    // Those of other hosts cannot be seen from here.
    alone.note(all_here && had_workers && has_none);
  }

  // Why mpirun will not end by itself; empty where it may.
  std::string why_hung() const {
    if (term.longer_than(kAfterTerm)) return "mpirun did not end when asked to, and was killed";
    if (alone.longer_than(kAfterLastWorker)) return "mpirun outlived all workers, and was killed";
    if (lost_host.longer_than(kAfterLostHost)) {
      return "mpirun lost a host, did not end, and was killed";
    }
    if (fault.longer_than(kAfterFault) || error.longer_than(kAfterError)) {
      return "mpirun did not end after the error, and was killed";
    }
    return "";
  }
};

Supervisor::~Supervisor() {
  finish_earlier(kForOrphans);
  end_left_processes(kForOrphans, inherited_);
}

Attempt Supervisor::run(const std::vector<std::string>& words, bool all_here) {
  auto child = std::make_unique<ChildProcess>(words, ChildOutput::kErrors);
  MpirunWords said(options_.verbose);
  Watch watch;
  watch.all_here = all_here;
  const std::string given_up = watch_over(*child, said, watch);
  if (!child->ended()) {
    const Attempt attempt = attempt_of({kExitFailed, 0}, given_up, said);
    finish_earlier(kForOrphans);
    ending_ = std::move(child);
    ending_since_ = Clock::now();
    return attempt;
  }
  forward(*child, said);
  std::fputs(said.finish().c_str(), stderr);
  finish_earlier(kForOrphans);
  end_left_processes(kForOrphans, inherited_);
  return attempt_of(*child->ended(), given_up, said);
}

// Until mpirun has ended, or only that is left to be done. Returns why it had to be ended.
std::string Supervisor::watch_over(ChildProcess& child, MpirunWords& said, Watch& watch) {
  std::string given_up;
  Since giving_up;
  while (!child.ended()) {
    wait(child, watch.fault.is_so ? kLook / 2 : 0.1);
    if (ending_ && (ending_->ended() || seconds_since(ending_since_) > kForOrphans)) {
      finish_earlier(0);
      bury_orphans(child.process());
    }
    while (const int signal = signals_.next()) end_on_wish(child, signal, watch);
    forward(child, said);
    if (giving_up.longer_than(kToEnd)) child.kill_all();
    if (giving_up.is_so) continue;
    watch.look(child, said);
    if (watch.fault.is_so && watch.alone.longer_than(kLook)) break;
    given_up = watch.why_hung();
    if (given_up.empty()) continue;
    said.pass_only_workers();
    giving_up.note(true);
    child.send(SIGTERM);
  }
  return given_up;
}

// For a signal, or a word.
void Supervisor::wait(const ChildProcess& child, double seconds) const {
  pollfd waits[] = {{signals_.descriptor(), POLLIN, 0}, {child.output(), POLLIN, 0}};
  poll(waits, 2, static_cast<int>(seconds * 1000));
  if ((waits[1].revents & (POLLHUP | POLLIN)) == POLLHUP) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
}

// The mpirun whose workers have ended may end by itself for so long.
void Supervisor::finish_earlier(double seconds) {
  if (!ending_) return;
  const Clock::time_point begin = Clock::now();
  std::string unheard;
  while (!ending_->ended() && seconds_since(begin) < seconds) {
    ending_->read(unheard);
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  ending_.reset();
}

bool Supervisor::pause(double seconds) {
  const Clock::time_point begin = Clock::now();
  for (;;) {
    while (signals_.next() != 0) ++wishes_;
    const double left = seconds - seconds_since(begin);
    if (wishes_ > 0 || left <= 0) return wishes_ == 0;
    pollfd wait{signals_.descriptor(), POLLIN, 0};
    poll(&wait, 1, static_cast<int>(std::min(left, 1.0) * 1000) + 1);
  }
}

// The first signal is a wish for a checkpoint, the second ends the run, the third at once.
void Supervisor::end_on_wish(ChildProcess& child, int signal, Watch& watch) {
  ++wishes_;
  if (wishes_ == 1 && options_.trains) {
    std::fprintf(stderr,
                 "lockstep: launch: SIG%s: the training ends after this step with a checkpoint; "
                 "once more ends it without\n",
                 sigabbrev_np(signal));
    // mpirun gives ranks one second after SIGTERM; this one it only forwards.
    child.send(SIGUSR1);
  } else if (!watch.term.is_so) {
    watch.term.note(true);
    child.send(SIGTERM);
  } else {
    child.kill_all();
  }
}

}  // namespace lockstep
