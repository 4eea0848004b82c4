// lockstep launch [options] -- COMMAND: starts mpirun, watches over it, and starts a failed
// training again.
#include <poll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <thread>

#include "core/base/error.h"
#include "launcher/child_process.h"
#include "launcher/commands.h"
#include "launcher/mpirun.h"
#include "launcher/setup.h"

namespace lockstep {
namespace {

using Clock = std::chrono::steady_clock;

// mpirun is ended where it lives on for so long (seconds) ...
constexpr double kAfterLastWorker = 5;  // ... after its last process on this machine
constexpr double kAfterLostHost = 10;   // ... after it has lost a host
constexpr double kAfterError = 30;      // ... after a worker has told an error, which ends them all
constexpr double kAfterTerm = 10;       // ... after it was asked to end
constexpr double kForOrphans = 2;       // what is left of a run may end by itself for so long
constexpr double kLongestPause = 60;    // before a restart

constexpr double kHostCheck = 8;  // for all hosts to answer

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

// What a user sends to end a run, as a stream to poll. It takes the signals over while it lives.
class Signals {
 public:
  Signals() {
    sigset_t set;
    sigemptyset(&set);
    for (const int signal : {SIGINT, SIGTERM, SIGUSR1, SIGHUP}) sigaddset(&set, signal);
    sigprocmask(SIG_BLOCK, &set, &before_);
    stream_ = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (stream_ < 0) environment_failed("signalfd: ", std::strerror(errno));
  }
  ~Signals() {
    ::close(stream_);
    sigprocmask(SIG_SETMASK, &before_, nullptr);
  }
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;

  int stream() const { return stream_; }
  // The next one that has come; 0 where there is none.
  int next() const {
    signalfd_siginfo info{};
    return ::read(stream_, &info, sizeof info) == sizeof info ? static_cast<int>(info.ssi_signo)
                                                              : 0;
  }

 private:
  int stream_ = -1;
  sigset_t before_{};
};

// How one mpirun ended.
struct Attempt {
  int code = 0;       // kExit..., or what mpirun gave
  std::string how;    // "ended with exit code 137"
  std::string cause;  // mpirun's words, where no worker has told an error
  bool told = false;
};

class Supervisor {
 public:
  explicit Supervisor(const LaunchCommand& command) : command_(command) {}

  Attempt run(const std::vector<std::string>& words, bool all_here) {
    ChildProcess child(words, ChildOutput::kErrors);
    MpirunWords said(command_.verbose);
    Watch watch;
    watch.all_here = all_here;
    std::string given_up;
    while (!child.ended()) {
      pollfd waits[] = {{signals_.stream(), POLLIN, 0}, {child.output(), POLLIN, 0}};
      poll(waits, 2, 100);
      if ((waits[1].revents & (POLLHUP | POLLIN)) == POLLHUP) {
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
      }
      while (const int signal = signals_.next()) end_on_wish(child, signal, watch);
      forward(child, said);
      if (!given_up.empty()) continue;
      given_up = why_hung(child, said, watch);
      if (!given_up.empty()) child.kill_all();
    }
    forward(child, said);
    std::fputs(said.finish().c_str(), stderr);
    end_left_processes(kForOrphans);
    Attempt attempt;
    const ExitStatus status = *child.ended();
    attempt.code = status.signal != 0 || !given_up.empty() ? kExitFailed : status.code;
    attempt.how = !given_up.empty()    ? given_up
                  : status.signal != 0 ? text("mpirun died of signal ", status.signal)
                                       : text("the run ended with exit code ", status.code);
    attempt.told = said.told();
    attempt.cause = said.cause();
    if (!said.lost_host().empty()) {
      // Whatever the workers told: those of the other hosts were ended by mpirun, because of this.
      attempt.told = false;
      attempt.cause =
          text("host ", said.lost_host(), " is lost: it is down, or the network to it is cut");
    }
    return attempt;
  }

  // False where a signal has come meanwhile.
  bool pause(double seconds) {
    const Clock::time_point begin = Clock::now();
    while (seconds_since(begin) < seconds && wishes_ == 0) {
      pollfd wait{signals_.stream(), POLLIN, 0};
      poll(&wait, 1, 100);
      while (signals_.next() != 0) ++wishes_;
    }
    return wishes_ == 0;
  }

  bool asked_to_end() const { return wishes_ > 0; }

 private:
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

  // What mpirun should not outlive for long.
  struct Watch {
    bool all_here = true, had_workers = false;
    Clock::time_point looked = Clock::now();
    Since alone, lost_host, error, term;
  };

  // The first signal is a wish for a checkpoint, the second ends the run, the third at once.
  void end_on_wish(ChildProcess& child, int signal, Watch& watch) {
    ++wishes_;
    if (wishes_ == 1 && command_.trains) {
      std::fprintf(stderr,
                   "lockstep: launch: SIG%s: the training ends after this step with a checkpoint; "
                   "once more ends it without\n",
                   sigabbrev_np(signal));
      child.send(
          SIGUSR1);  // mpirun gives ranks one second after SIGTERM; this one it only forwards
    } else if (!watch.term.is_so) {
      watch.term.note(true);
      child.send(SIGTERM);
    } else {
      child.kill_all();
    }
  }

  static void forward(ChildProcess& child, MpirunWords& said) {
    std::string bytes;
    child.read(bytes);
    const std::string out = said.pass(bytes);
    if (out.empty()) return;
    std::fflush(stdout);
    std::fputs(out.c_str(), stderr);
  }

  // Why mpirun will not end by itself; empty where it may.
  static std::string why_hung(const ChildProcess& child, const MpirunWords& said, Watch& watch) {
    watch.lost_host.note(said.has_lost_host());
    watch.error.note(said.told());
    if (seconds_since(watch.looked) > 1) {
      watch.looked = Clock::now();
      const bool alone = child.descendants().empty();
      watch.had_workers = watch.had_workers || !alone;
      // Those of other hosts cannot be seen from here.
      watch.alone.note(watch.all_here && watch.had_workers && alone);
    }
    if (watch.term.longer_than(kAfterTerm))
      return "mpirun did not end when asked to, and was killed";
    if (watch.alone.longer_than(kAfterLastWorker))
      return "mpirun outlived all workers, and was killed";
    if (watch.lost_host.longer_than(kAfterLostHost)) {
      return "mpirun lost a host, did not end, and was killed";
    }
    if (watch.error.longer_than(kAfterError))
      return "mpirun did not end after the error, and was killed";
    return "";
  }

  const LaunchCommand& command_;
  Signals signals_;
  int wishes_ = 0;
};

void refuse_under_launcher(const Environment& environment) {
  if (environment.world.launcher.empty()) return;
  const std::string message =
      text("launch: ", environment.world.launcher, " has started this as one of ",
           environment.world.size, environment.world.size == 1 ? " process" : " processes",
           " already, and launch starts mpirun itself; use either '", environment.world.launcher,
           " ... lockstep train CONFIG' or 'lockstep launch ... -- train CONFIG'");
  if (environment.rank == 0) bad_input(message);
  // Rank 0 tells it; its end is the end of all, at the latest after this.
  std::this_thread::sleep_for(std::chrono::seconds(2));
  throw ToldError(ErrorKind::kBadInput, message);
}

// Hosts that are not known, do not answer, or lack the program.
void check_hosts(const std::vector<Host>& hosts, const LaunchTarget& target,
                 const Environment& environment) {
  std::vector<std::string> names;
  for (const Host& host : hosts) {
    if (!is_this_machine(host.name)) names.push_back(host.name);
  }
  if (names.empty()) return;
  if (target.remote_shell.empty()) {
    for (const std::string& name : names) {
      std::string why;
      check_input(!address_of(name, why).empty(), "launch: host ", name, " is not known: ", why,
                  "; check --hosts, or /etc/hosts and DNS");
    }
    // Slurm starts what runs on its hosts.
    if (!environment.allocation.empty()) return;
  }
  const std::string program = path_of_program();
  std::vector<std::vector<std::string>> commands;
  for (const std::string& name : names) {
    commands.push_back(remote_words(target, environment, name, {"test", "-x", program}));
  }
  const std::vector<FinishedChild> answers = run_children(commands, kHostCheck);
  for (std::size_t i = 0; i < names.size(); ++i) {
    const FinishedChild& answer = answers[i];
    check_input(answer.timed_out || answer.status.code != 1, "launch: host ", names[i], ": ",
                program,
                " is not there or cannot be run; install Lockstep at the same place on all hosts");
    std::string why = answer.output.substr(0, answer.output.find('\n'));
    if (answer.timed_out) why = text("no answer within ", kHostCheck, " s");
    if (why.empty()) why = text("exit code ", answer.status.code);
    check_input(!answer.timed_out && answer.status.code == 0, "launch: host ", names[i],
                " cannot be reached: ", why, "; '", shell_line(commands[i]),
                "' must work without a password");
  }
}

// The arguments of a training that goes on from its last checkpoint. Faults were ordered once.
std::vector<std::string> resuming(const std::vector<std::string>& command) {
  std::vector<std::string> out;
  for (std::size_t i = 0; i < command.size(); ++i) {
    const std::string& word = command[i];
    if (word == "--overwrite" || word == "--resume" || word.starts_with("--inject=")) continue;
    if (word == "--inject") {
      ++i;
      continue;
    }
    out.push_back(word);
  }
  out.push_back("--resume");
  return out;
}

int supervise(const LaunchCommand& command, const std::vector<std::string>& mpirun, bool all_here) {
  Supervisor supervisor(command);
  std::vector<std::string> program = command.command;
  if (command.dry_run) program.push_back("--dry-run");
  for (std::int64_t restarts = 0;; ++restarts) {
    std::vector<std::string> words = mpirun;
    words.push_back(path_of_program());
    words.insert(words.end(), program.begin(), program.end());
    const Attempt attempt = supervisor.run(words, all_here);
    const bool is_final =
        attempt.code == kExitDone || attempt.code == kExitBadInput || attempt.code == kExitStopped;
    const bool is_well = attempt.code == kExitDone || attempt.code == kExitStopped;
    const std::string why =
        attempt.how + (attempt.told || attempt.cause.empty() ? "" : ": " + attempt.cause);
    const bool tries_again =
        !is_final && !supervisor.asked_to_end() && restarts < command.max_restarts;
    if (!tries_again) {
      if (!is_well && !attempt.told) std::fprintf(stderr, "lockstep: launch: %s\n", why.c_str());
      if (is_final) return attempt.code;
      if (supervisor.asked_to_end()) {
        std::fprintf(stderr, "lockstep: launch: ended by a signal without a new checkpoint\n");
      } else if (restarts > 0) {
        std::fprintf(stderr, "lockstep: launch: gave up after %lld %s\n",
                     static_cast<long long>(restarts), restarts == 1 ? "restart" : "restarts");
      }
      return kExitFailed;
    }
    const double pause = std::min(kLongestPause, std::exp2(static_cast<double>(restarts)));
    std::fprintf(stderr,
                 "lockstep: launch: %s; restart %lld of %lld in %.0f s, from the last checkpoint\n",
                 why.c_str(), static_cast<long long>(restarts + 1),
                 static_cast<long long>(command.max_restarts), pause);
    if (!supervisor.pause(pause)) {
      std::fprintf(stderr,
                   "lockstep: launch: ended by a signal before the restart; go on with --resume\n");
      return kExitFailed;
    }
    program = resuming(program);
  }
}

}  // namespace

int run_command(const LaunchCommand& command, const ProgramContext& context) {
  const Environment& environment = context.environment;
  refuse_under_launcher(environment);
  MpirunCall call;
  call.hosts = hosts_of(command.target.hosts, command.target.hostfile);
  call.workers = command.workers;
  call.allocated = !environment.allocation.empty();
  call.mpirun = find_mpirun(command.target, environment);
  mpirun_version(call.mpirun);
  const bool all_here = call.hosts.empty() ? !call.allocated : all_on_this_machine(call.hosts);
  if (call.workers == 0 && call.hosts.empty() && !call.allocated) call.workers = usable_cores();
  check_hosts(call.hosts, command.target, environment);
  const std::vector<std::string> mpirun = mpirun_words(call, command.target);
  if (command.dry_run) {
    std::vector<std::string> words = mpirun;
    words.push_back(path_of_program());
    words.insert(words.end(), command.command.begin(), command.command.end());
    std::printf("%s\n", shell_line(words).c_str());
    std::fflush(stdout);
    if (!command.trains) return kExitDone;
  }
  return supervise(command, mpirun, all_here);
}

}  // namespace lockstep
