#include "launcher/start_options.h"

#include <algorithm>

#include "core/base/error.h"
#include "launcher/command_line.h"

namespace lockstep {
namespace {

void add_target(CommandLine& line) {
  line.add()("hosts", value("H1:N,H2:N"),
             "hosts and their workers; without a number one per GPU, or per core; without hosts this "
             "machine, or what Slurm gave");
  line.add()("hostfile", value("FILE"), "the hosts, one a line: NAME slots=N");
  line.add()("mpirun", value("PATH"), "Open MPI's mpirun; without it the first one of PATH");
  line.add()("remote-shell", value("COMMAND"), "starts what runs on other hosts, instead of ssh");
  line.add()("mca", values("NAME=VALUE"),
             "a setting of Open MPI, as btl_tcp_if_include=eth0; may be repeated");
}

LaunchTarget target_of(const CommandLine& line) {
  LaunchTarget target;
  for (const char* name : {"hosts", "hostfile", "mpirun", "remote-shell"}) {
    if (line.flag(name) && line.word(name).empty()) {
      line.refuse(text("--", name, " is empty"));
    }
  }
  target.hosts = line.word("hosts");
  target.hostfile = line.word("hostfile");
  if (line.flag("hosts") && line.flag("hostfile")) {
    line.refuse("--hosts and --hostfile exclude each other");
  }
  target.mpirun = line.word("mpirun");
  target.remote_shell = line.word("remote-shell");
  target.mca = line.list("mca");
  for (const std::string& setting : target.mca) {
    const std::size_t equal = setting.find('=');
    if (equal == std::string::npos || equal == 0) {
      line.refuse("--mca expects NAME=VALUE, found '" + setting + "'");
    }
  }
  return target;
}

}  // namespace

Command parse_launch(const Arguments& given) {
  const auto dashes = std::ranges::find(given, "--");
  CommandLine line("launch", "launch [options] -- train CONFIG [options of train]",
                   "Starts a command of Lockstep with several workers under mpirun, sees to it that all "
                   "of them end,\nand starts a training again that failed. SIGINT, SIGTERM and SIGUSR1 "
                   "end a training with a\ncheckpoint; a second one ends it at once. The exit code is "
                   "that of the run.");
  line.add()("workers,n", value("N"), "number of workers; without it one per GPU where the command computes on GPUs, else one per core");
  add_target(line);
  line.add()("max-restarts", value("R"),
             "start a training again that failed, from its last checkpoint, at most R times within "
             "the window (default 0); a host that failed twice is left out");
  line.add()("restart-window", value("SECONDS"),
             "restarts that lie further back do not count (default 3600)");
  line.add()("dry-run", "print the call of mpirun; of a training also who would run where");
  line.add()("verbose", "print all that mpirun says");
  if (auto help = line.parse({given.begin(), dashes})) return *help;
  if (dashes == given.end() || dashes + 1 == given.end()) {
    line.refuse("the command to start is missing after --");
  }

  LaunchCommand command;
  command.target = target_of(line);
  command.workers = line.number("workers", 1, 0);
  command.max_restarts = line.number("max-restarts", 0, 0);
  command.restart_window = line.number("restart-window", 1, command.restart_window);
  command.dry_run = line.flag("dry-run");
  command.verbose = line.flag("verbose");
  command.command.assign(dashes + 1, given.end());
  const Command inner = parse_command_line(command.command);
  if (std::holds_alternative<ShowText>(inner)) return inner;
  const auto* train = std::get_if<TrainCommand>(&inner);
  command.trains = train != nullptr && !train->dry_run;
  if (command.trains) command.run = run_directory_of(*train);
  const auto* evaluate = std::get_if<EvaluateCommand>(&inner);
  if (train != nullptr) command.device = train->device;
  if (evaluate != nullptr) command.device = evaluate->device;
  if (train == nullptr && evaluate == nullptr &&
      !std::holds_alternative<BenchAllReduceCommand>(inner)) {
    line.refuse("'" + command.command[0] +
                "' is done by one process; started with several are train, evaluate and bench");
  }
  if (command.max_restarts > 0 && !command.trains) {
    line.refuse("--max-restarts is for trainings, which leave checkpoints");
  }
  if (line.flag("restart-window") && command.max_restarts == 0) {
    line.refuse("--restart-window is of use with --max-restarts only");
  }
  return command;
}

Command parse_doctor(const Arguments& given) {
  CommandLine line("doctor", "doctor [options]",
                   "Looks at this machine and this installation, starts two workers and measures their "
                   "exchange; with\nhosts, also at these. One line a check, with what to do; exit code 1 "
                   "where one failed.");
  add_target(line);
  line.add()("gpus", "only say how many GPUs can be used here, in one line");
  if (auto help = line.parse(given)) return *help;
  return DoctorCommand{target_of(line), line.flag("gpus")};
}

}  // namespace lockstep
