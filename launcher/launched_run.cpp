#include "launcher/launched_run.h"

#include <sys/stat.h>

#include <chrono>
#include <cstdio>

#include "core/base/clock.h"
#include "core/base/error.h"
#include "core/base/file.h"
#include "launcher/checkpoint/stored_checkpoint.h"
#include "launcher/commands.h"
#include "launcher/host_check.h"
#include "launcher/slurm_hosts.h"

namespace lockstep {
namespace {

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

// Which content a file has: what is renamed over it is another one. Empty where there is no file.
std::string identity_of(const std::string& path) {
  struct stat file {};
  if (stat(path.c_str(), &file) != 0) return "";
  return text(file.st_ino, ' ', file.st_mtim.tv_sec, '.', file.st_mtim.tv_nsec);
}

double seconds_now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

std::string counted(std::int64_t count, const char* one) {
  return text(count, " ", one, count == 1 ? "" : "s");
}

void tell(const std::string& what) {
  std::fprintf(stderr, "lockstep: launch: %s\n", what.c_str());
}

// What no worker has told; may be empty. mpirun ends its sentences.
std::string untold(const Attempt& attempt) {
  if (!attempt.line.empty() || attempt.cause.empty()) return attempt.how;
  const std::string cause = attempt.cause;
  return attempt.how + ": " + cause.substr(0, cause.size() - cause.ends_with('.'));
}

std::string when_text(double pause) {
  char out[32] = "at once";
  if (pause > 0) std::snprintf(out, sizeof out, "in %.0f s", pause);
  return out;
}

std::string from_text(std::optional<std::int64_t> step) {
  if (!step) return "from the last checkpoint";
  return *step > 0 ? text("from step ", *step) : "from the start";
}

}  // namespace

LaunchedRun::LaunchedRun(const LaunchCommand& command, const Environment& environment,
                         const MpirunCall& call)
    : command_(command),
      environment_(environment),
      call_(call),
      run_(command.run),
      program_(command.command),
      old_config_(command.trains ? identity_of(run_.config()) : ""),
      all_hosts_(hosts_of_run()),
      limits_{command.dry_run ? 0 : command.max_restarts,
              static_cast<double>(command.restart_window)},
      policy_(limits_, all_hosts_),
      supervisor_({.trains = command.trains, .verbose = command.verbose}) {
  if (command.dry_run) program_.push_back("--dry-run");
}

int LaunchedRun::run() {
  for (;;) {
    const Attempt attempt = supervisor_.run(words(), all_here());
    if (attempt.code == kExitDone || attempt.code == kExitStopped) return attempt.code;
    if (attempt.code == kExitBadInput) {
      if (attempt.line.empty()) tell(untold(attempt));
      return attempt.code;
    }
    if (!prepare_restart(attempt)) return stopped_ ? kExitStopped : kExitFailed;
  }
}

std::vector<std::string> LaunchedRun::words() const {
  std::vector<std::string> out = mpirun_words(call_, command_.target);
  out.push_back(path_of_program());
  out.insert(out.end(), program_.begin(), program_.end());
  return out;
}

bool LaunchedRun::all_here() const {
  return call_.hosts.empty() ? !call_.allocated : all_on_this_machine(call_.hosts);
}

// Those of the command line, or of the Slurm job.
std::vector<Host> LaunchedRun::hosts_of_run() const {
  if (!call_.hosts.empty() || !call_.allocated) return call_.hosts;
  return slurm_hosts(environment_.allocated_nodes, environment_.allocated_tasks);
}

// False where that was the last attempt.
bool LaunchedRun::prepare_restart(const Attempt& attempt) {
  const std::string failed = untold(attempt);
  const double now = seconds_now();
  const bool ends = supervisor_.asked_to_end();
  const auto restart = ends ? std::nullopt : policy_.next(now);
  if (!restart) {
    if (!failed.empty()) tell(failed);
    if (ends) {
      tell("ended by a signal without a new checkpoint");
    } else if (limits_.most > 0) {
      tell(text("gave up after ", counted(limits_.most, "restart"), " within ",
                counted(command_.restart_window, "second")));
    }
    return false;
  }
  RestartRecord record{.from_step = newest_step(), .pause = restart->pause};
  const std::string before = failed.empty() ? "" : failed + "; ";
  std::string without;
  for (const auto& [host, why] : leave_out_hosts(attempt, now)) {
    without += text(", without host ", host, " (", why, ")");
    record.left_out.push_back(host);
  }
  if (!policy_.has_hosts()) {
    tell(text(before, "gave up, for no host is left", without));
    return false;
  }
  tell(text(before, "restart ", restart->number, " of ", limits_.most, " ",
            when_text(restart->pause), ", ", from_text(record.from_step), without));
  keep(attempt, std::move(record));
  if (!supervisor_.pause(restart->pause)) {
    // What a signal asks for is there already: a checkpoint to go on from.
    const std::int64_t step = newest_step().value_or(0);
    stopped_ = step > 0;
    tell(stopped_ ? text("stopped by a signal before the restart, with the checkpoint of step ", step)
                  : std::string("ended by a signal before the restart; go on with --resume"));
    return false;
  }
  // A run that was to be overwritten, and is there still, must not be resumed.
  const bool has_begun = old_config_.empty() || identity_of(run_.config()) != old_config_;
  if (has_begun) program_ = resuming(program_);
  return true;
}

// Takes away the hosts that are no longer to be used.
std::vector<LaunchedRun::LeftOut> LaunchedRun::leave_out_hosts(const Attempt& attempt, double now) {
  std::vector<LeftOut> out;
  const std::string& host = attempt.blame.host;
  if (policy_.note_failure(now, host)) out.push_back({host, "it failed twice"});
  // The hosts of a Slurm job cannot be asked whether they are back.
  const bool can_ask = environment_.allocation.empty() || !command_.target.remote_shell.empty();
  if (attempt.lost_host && !can_ask && policy_.leave_out(host)) out.push_back({host, "it is lost"});
  if (can_ask) {
    for (const UnusableHost& one : find_unusable(policy_.hosts(), command_.target, environment_)) {
      if (policy_.leave_out(one.name)) out.push_back({one.name, one.why});
    }
  }
  if (!out.empty() && policy_.has_hosts()) use_only(policy_.hosts());
  return out;
}

void LaunchedRun::use_only(const std::vector<Host>& hosts) {
  call_.hosts = hosts;
  if (command_.workers > 0) {
    call_.workers = workers_of_rest(command_.workers, all_hosts_, hosts);
  }
}

// Of the newest checkpoint; 0 where there is none, nothing where the run cannot be seen from here.
std::optional<std::int64_t> LaunchedRun::newest_step() const {
  if (!is_directory(run_.path())) return std::nullopt;
  const std::vector<CheckpointEntry> all = list_checkpoints(run_.checkpoints());
  return all.empty() ? 0 : all.back().step;
}

// Adds the restart to those of the run; what the attempt says is filled in here.
void LaunchedRun::keep(const Attempt& attempt, RestartRecord record) const {
  if (!record.from_step) return;
  record.time = utc_now();
  record.cause = attempt.line.empty() ? untold(attempt) : attempt.line;
  record.host = attempt.blame.host;
  record.rank = attempt.blame.rank;
  record.failed_step = attempt.blame.step;
  try {
    append_restart(run_.restarts(), record);
  } catch (const Error& error) {
    std::fprintf(stderr, "lockstep: warning: the restart is not kept in the run: %s\n",
                 error.what());
  }
}

}  // namespace lockstep
