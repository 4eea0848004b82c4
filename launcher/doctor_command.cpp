// lockstep doctor: one line a check.
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "core/base/error.h"
#include "launcher/commands.h"
#include "launcher/doctor.h"
#include "launcher/gpu_count.h"
#include "launcher/hosts.h"
#include "launcher/mpirun.h"

namespace lockstep {

std::string to_line(const Finding& finding, bool in_color) {
  constexpr std::size_t kColumn = 16;
  const char* words[] = {"OK", "WARNING", "FAILED"};
  const char* colors[] = {"\033[32m", "\033[33m", "\033[31m"};
  const auto verdict = static_cast<std::size_t>(finding.verdict);
  const std::string word = words[verdict];
  std::string line = "  ";
  line += in_color ? colors[verdict] + word + "\033[0m" : word;
  line += std::string(9 - word.size(), ' ') + finding.what;
  line += std::string(finding.what.size() < kColumn ? kColumn - finding.what.size() : 2, ' ');
  line += finding.found;
  if (!finding.remedy.empty()) line += "; " + finding.remedy;
  return line;
}

int run_command(const DoctorCommand& command, const ProgramContext& context) {
  if (command.gpus) {
    std::printf("%s\n", to_line(gpus_here()).c_str());
    return kExitDone;
  }
  const Environment& environment = context.environment;
  check_input(environment.world.launcher.empty(), "doctor: ", environment.world.launcher,
              " has started this already, and doctor starts mpirun itself; start it alone");
  hosts_of(command.target.hosts, command.target.hostfile);  // refused before anything is said
  const bool in_color = isatty(STDOUT_FILENO) == 1;
  int warnings = 0, failures = 0;
  const Tell tell = [&](const Finding& finding) {
    warnings += finding.verdict == Verdict::kWarning;
    failures += finding.verdict == Verdict::kFailed;
    std::printf("%s\n", to_line(finding, in_color).c_str());
    std::fflush(stdout);
  };
  tell({Verdict::kOk, "program", "lockstep " LOCKSTEP_VERSION ", " + path_of_program()});
  examine_machine(tell);
  if (examine_mpi(command.target, environment, tell)) {
    examine_hosts(command.target, environment, tell);
  }
  const auto count = [](int n, const char* one, const char* many) {
    return text(n, " ", n == 1 ? one : many);
  };
  const std::string warned = count(warnings, "warning", "warnings");
  if (failures > 0) {
    std::printf("%s failed, %s\n", count(failures, "check", "checks").c_str(), warned.c_str());
  } else {
    std::printf("%s\n", warnings > 0 ? ("ready, with " + warned).c_str() : "ready");
  }
  return failures > 0 ? kExitFailed : kExitDone;
}

}  // namespace lockstep
