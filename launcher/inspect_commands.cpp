// The commands that only read files or print: report, --help.
#include <cstdio>

#include "launcher/commands.h"
#include "launcher/report.h"

namespace lockstep {

int run_command(const ShowText& command, const ProgramContext&) {
  std::printf("%s", command.text.c_str());
  return kExitDone;
}

int run_command(const ReportCommand& command, const ProgramContext&) {
  std::printf("%s\n", write_report(command.run, command.output).c_str());
  return kExitDone;
}

}  // namespace lockstep
