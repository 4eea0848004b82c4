// lockstep launch [options] -- COMMAND: starts mpirun, watches over it, and starts a failed
// training again.
#include <cstdio>

#include "core/base/error.h"
#include "launcher/commands.h"
#include "launcher/gpu_count.h"
#include "launcher/host_check.h"
#include "launcher/launched_run.h"
#include "launcher/mpirun.h"
#include "launcher/setup.h"

namespace lockstep {
namespace {

void refuse_under_launcher(const Environment& environment) {
  if (environment.world.launcher.empty()) return;
  const std::string message =
      text("launch: ", environment.world.launcher, " has started this as one of ",
           environment.world.size, environment.world.size == 1 ? " process" : " processes",
           " already, and launch starts mpirun itself; use either '", environment.world.launcher,
           " ... lockstep train CONFIG' or 'lockstep launch ... -- train CONFIG'");
  refuse_before_joining(environment, ErrorKind::kBadInput, message);
}

void check_hosts(const MpirunCall& call, const LaunchTarget& target,
                 const Environment& environment) {
  for (const UnusableHost& host : find_unusable(call.hosts, target, environment)) {
    bad_input("launch: host ", host.name, " ", host.why, "; ", host.remedy);
  }
}

// One worker for each GPU where the command computes on GPUs and nobody has said how many, else one for each core. The hosts of a
// Slurm job are not asked: its tasks count.
void count_workers(const LaunchCommand& command, const Environment& environment, MpirunCall& call) {
  if (call.hosts.empty()) {
    if (call.allocated || call.workers > 0) return;
    const bool on_gpus = choose_device(command.device).gpu != nullptr;
    call.workers = on_gpus ? gpus_here().gpus : usable_cores();
    return;
  }
  if (command.device == DeviceChoice::kCpu || (call.allocated && command.target.remote_shell.empty())) return;
  call.hosts = with_workers_per_gpu(call.hosts, gpus_of(call.hosts, command.target, environment),
                                    command.device == DeviceChoice::kCuda);
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
  check_hosts(call, command.target, environment);
  count_workers(command, environment, call);
  if (command.dry_run) {
    std::vector<std::string> words = mpirun_words(call, command.target);
    words.push_back(path_of_program());
    words.insert(words.end(), command.command.begin(), command.command.end());
    std::printf("%s\n", shell_line(words).c_str());
    std::fflush(stdout);
    if (!command.trains) return kExitDone;
  }
  return LaunchedRun(command, environment, call).run();
}

}  // namespace lockstep
