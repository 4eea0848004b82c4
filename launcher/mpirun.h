// Open MPI's mpirun: where it is, how it is called, and what of its words a user needs.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "launcher/blame.h"
#include "launcher/environment.h"
#include "launcher/hosts.h"
#include "launcher/launch_options.h"

namespace lockstep {

// The path of mpirun. Throws bad_input where there is none.
std::string find_mpirun(const LaunchTarget& target, const Environment& environment);

// "mpirun (Open MPI) 4.1.4", its first line; throws bad_input where it is not Open MPI's.
std::string mpirun_version(const std::string& mpirun);

struct MpirunCall {
  std::string mpirun = {};       // path
  std::vector<Host> hosts = {};  // none: this machine, or those of the allocation
  std::int64_t workers = 0;      // 0: as many as the hosts have
  bool allocated = false;        // by Slurm: without hosts, mpirun asks it
};

// The words up to those of the program that it starts.
std::vector<std::string> mpirun_words(const MpirunCall& call, const LaunchTarget& target);

// The words that run a command on a host: ssh, or what stands in for it.
std::vector<std::string> remote_words(const LaunchTarget& target, const Environment& environment,
                                      const std::string& host,
                                      const std::vector<std::string>& command);

// The path of this program.
std::string path_of_program();

// Reads mpirun's stderr: what the workers said passes; mpirun's own paragraphs, which stand between
// lines of dashes, are kept, for the worker's word says more. With `all` everything passes.
class MpirunWords {
 public:
  explicit MpirunWords(bool all) : all_(all) {}

  // The lines to print of `bytes` and what came before them, each with its end.
  std::string pass(const std::string& bytes);
  // What is left at the end.
  std::string finish();

  // From now on mpirun's words between its paragraphs are dropped too: it is being ended, and complains.
  void pass_only_workers() { only_workers_ = true; }

  // Whether a worker has told an error.
  bool told() const { return !told_line_.empty(); }
  // The first one, without "lockstep: ".
  const std::string& told_line() const { return told_line_; }
  // Whether a watchdog has told a fault: then it ends all workers, with exit code 1.
  bool told_fault() const { return fault_.has_value(); }
  // Whether mpirun has lost a host: then it may hang.
  bool has_lost_host() const { return lost_; }
  // Its name; empty where none was lost or mpirun did not name it.
  const std::string& lost_host() const { return lost_host_; }
  // Who is to blame, as far as the words say it.
  Blame blame() const;
  // mpirun's most telling paragraph on one line; empty where it said none.
  std::string cause() const;

 private:
  void line(const std::string& text, std::string& out);

  void note(const std::string& text);

  bool all_, only_workers_ = false, lost_ = false, in_paragraph_ = false;
  std::string told_line_;
  std::optional<Blame> fault_;
  std::string lost_host_;
  std::string begun_;  // a line without end
  std::string paragraph_;
  std::vector<std::string> paragraphs_;
};

}  // namespace lockstep
