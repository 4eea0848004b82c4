#include "launcher/host_check.h"

#include "core/base/error.h"
#include "launcher/child_process.h"
#include "launcher/mpirun.h"

namespace lockstep {
namespace {

constexpr double kPatience = 8;  // seconds, for all hosts to answer

// Nothing where the answer is a good one.
void judge(const std::string& host, const std::string& program, const FinishedChild& answer,
           const std::vector<std::string>& words, std::vector<UnusableHost>& out) {
  if (!answer.timed_out && answer.status.code == 0) return;
  if (!answer.timed_out && answer.status.code == 1) {
    out.push_back({host, "lacks " + program + ", or cannot run it",
                   "install Lockstep at the same place on all hosts"});
    return;
  }
  std::string why = answer.output.substr(0, answer.output.find('\n'));
  if (answer.timed_out) why = text("no answer within ", kPatience, " s");
  if (why.empty()) why = text("exit code ", answer.status.code);
  out.push_back({host, "cannot be reached: " + why,
                 "'" + shell_line(words) + "' must work without a password"});
}

}  // namespace

std::vector<UnusableHost> find_unusable(const std::vector<Host>& hosts, const LaunchTarget& target,
                                        const Environment& environment) {
  std::vector<UnusableHost> out;
  std::vector<std::string> names;
  for (const Host& host : hosts) {
    if (is_this_machine(host.name)) continue;
    std::string why;
    if (target.remote_shell.empty() && address_of(host.name, why).empty()) {
      out.push_back({host.name, "is not known: " + why, "check --hosts, or /etc/hosts and DNS"});
    } else {
      names.push_back(host.name);
    }
  }
  if (target.remote_shell.empty() && !environment.allocation.empty()) return out;
  const std::string program = path_of_program();
  std::vector<std::vector<std::string>> commands;
  for (const std::string& name : names) {
    commands.push_back(remote_words(target, environment, name, {"test", "-x", program}));
  }
  const std::vector<FinishedChild> answers = run_children(commands, kPatience);
  for (std::size_t i = 0; i < names.size(); ++i) {
    judge(names[i], program, answers[i], commands[i], out);
  }
  return out;
}

}  // namespace lockstep
