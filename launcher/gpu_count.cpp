#include "launcher/gpu_count.h"

#include <sstream>

#include "core/base/error.h"
#include "launcher/child_process.h"
#include "launcher/device_choice.h"
#include "launcher/mpirun.h"

namespace lockstep {
namespace {

// Seconds for all hosts to answer: a driver that no program uses takes some to wake up its GPUs.
constexpr double kPatience = 30;

}  // namespace

GpuCount gpus_here() {
  const ChosenDevice chosen = choose_device(DeviceChoice::kAuto);
  std::string why = chosen.why_cpu;
  return chosen.gpu == nullptr ? GpuCount{0, why} : GpuCount{chosen.gpu->device_count(why)};
}

std::string to_line(const GpuCount& count) { return text("gpus ", count.gpus, count.why.empty() ? "" : " ", count.why); }

std::optional<GpuCount> find_answer(const std::string& output) {
  std::istringstream lines(output);
  for (std::string line, word; std::getline(lines, line);) {
    std::istringstream in(line);
    GpuCount count;
    if (!(in >> word >> count.gpus) || word != "gpus" || count.gpus < 0) continue;
    std::getline(in >> std::ws, count.why);
    return count;
  }
  return std::nullopt;
}

std::vector<std::optional<GpuCount>> gpus_of(const std::vector<Host>& hosts, const LaunchTarget& target,
                                             const Environment& environment) {
  std::vector<std::optional<GpuCount>> out(hosts.size());
  std::vector<std::vector<std::string>> commands;
  std::vector<std::size_t> asked;
  for (std::size_t i = 0; i < hosts.size(); ++i) {
    if (hosts[i].workers > 0) continue;
    if (is_this_machine(hosts[i].name)) {
      out[i] = gpus_here();
    } else {
      asked.push_back(i);
      commands.push_back(remote_words(target, environment, hosts[i].name, {path_of_program(), "doctor", "--gpus"}));
    }
  }
  const std::vector<FinishedChild> answers = run_children(commands, kPatience);
  for (std::size_t i = 0; i < asked.size(); ++i) out[asked[i]] = find_answer(answers[i].output);
  return out;
}

std::vector<Host> with_workers_per_gpu(std::vector<Host> hosts, const std::vector<std::optional<GpuCount>>& counts,
                                       bool must_have) {
  for (std::size_t i = 0; i < hosts.size(); ++i) {
    if (!counts[i]) continue;
    if (counts[i]->gpus > 0) {
      hosts[i].workers = counts[i]->gpus;
    } else if (must_have) {
      bad_input("launch: host ", hosts[i].name, " has no GPU that can be used: ", counts[i]->why,
                "; leave it out, or use --device cpu");
    }
  }
  return hosts;
}

}  // namespace lockstep
