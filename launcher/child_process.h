// Programs that this one starts, and what is left of them.
//
// A child is in a process group of its own (Ctrl-C at a terminal does not reach it), reads nothing,
// gets SIGTERM where this process dies, and leaves no process behind: who starts children is the
// reaper of theirs (Linux: PR_SET_CHILD_SUBREAPER), so a grandchild whose parent is gone is still
// found. One thread starts and ends children.
#pragma once

#include <sys/types.h>

#include <optional>
#include <set>
#include <string>
#include <vector>

namespace lockstep {

// How a process ended: its exit code, or the signal that ended it (then `code` is 128 + signal, as
// a shell says).
struct ExitStatus {
  int code = 0;
  int signal = 0;
};

enum class ChildOutput {
  kErrors,  // stderr can be read; stdout is this process's
  kBoth,    // stdout and stderr can be read, as one stream
};

class ChildProcess {
 public:
  // `words[0]` is the path of the program. Throws failed environment where it cannot be started.
  ChildProcess(const std::vector<std::string>& words, ChildOutput output);
  // Ends it and all that it has left on this machine.
  ~ChildProcess();
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  pid_t process() const { return process_; }
  int output() const { return output_; }  // to poll; never blocks
  // Appends what there is to read; false where the stream has ended.
  bool read(std::string& to);
  // How it ended; nothing while it runs.
  std::optional<ExitStatus> ended();
  void send(int signal) const;
  // SIGKILL to it and all processes that descend from it.
  void kill_all();
  // The living processes that descend from it (not itself).
  std::set<pid_t> descendants() const;

 private:
  pid_t process_ = -1;
  int output_ = -1;
  std::optional<ExitStatus> status_;
};

// The living children of this process, whoever started them: a shell that becomes this program
// (`exec`, or the last command of a line) leaves it its own, as the tee of `> >(tee log)`.
std::set<pid_t> living_children();

// Ends the living children of this process and theirs, after `seconds` in which they may end by
// themselves; but not those of `besides`, and theirs. Returns how many had to be ended.
int end_left_processes(double seconds, const std::set<pid_t>& besides = {});

// Buries children of this process that have ended, but not `except`: orphans that nobody waits for.
void bury_orphans(pid_t except);

struct FinishedChild {
  ExitStatus status;
  std::string output;      // stdout and stderr
  bool timed_out = false;  // it was ended after `seconds`
};

// Runs a program to its end. Throws failed environment where it cannot be started.
FinishedChild run_child(const std::vector<std::string>& words, double seconds);
// The same for several at once.
std::vector<FinishedChild> run_children(const std::vector<std::vector<std::string>>& commands,
                                        double seconds);

// The words as a shell reads them.
std::string shell_line(const std::vector<std::string>& words);

}  // namespace lockstep
