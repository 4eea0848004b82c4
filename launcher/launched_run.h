// One call of `lockstep launch`: attempts, until the run has ended or may not be tried again.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "launcher/environment.h"
#include "launcher/launch_options.h"
#include "launcher/mpirun.h"
#include "launcher/restart_log.h"
#include "launcher/restart_policy.h"
#include "launcher/run_directory.h"
#include "launcher/supervisor.h"

namespace lockstep {

class LaunchedRun {
 public:
  // What is referred to outlives it. `call` is that of the first attempt.
  LaunchedRun(const LaunchCommand& command, const Environment& environment, const MpirunCall& call);

  // The exit code of the run.
  int run();

 private:
  struct LeftOut {
    std::string host, why;
  };

  std::vector<std::string> words() const;
  bool all_here() const;
  std::vector<Host> hosts_of_run() const;
  bool prepare_restart(const Attempt& attempt);
  std::vector<LeftOut> leave_out_hosts(const Attempt& attempt, double now);
  void use_only(const std::vector<Host>& hosts);
  std::optional<std::int64_t> newest_step() const;
  void keep(const Attempt& attempt, RestartRecord record) const;

  const LaunchCommand& command_;
  const Environment& environment_;
  MpirunCall call_;
  const RunDirectory run_;
  std::vector<std::string> program_;  // the words behind mpirun's
  bool stopped_ = false;  // by a signal, with a checkpoint
  const std::string old_config_;      // which configuration was in the run directory before
  const std::vector<Host> all_hosts_;
  const RestartLimits limits_;
  RestartPolicy policy_;
  Supervisor supervisor_;
};

}  // namespace lockstep
