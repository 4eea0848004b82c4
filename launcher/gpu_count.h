// How many GPUs hosts have that this program can use: `lockstep launch` starts a worker for each. Other hosts are asked with
// `lockstep doctor --gpus`, which answers with one line.
//
//   answer := "gpus" NUMBER [WHY]     WHY: why there are none
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "launcher/environment.h"
#include "launcher/hosts.h"
#include "launcher/launch_options.h"

namespace lockstep {

struct GpuCount {
  int gpus = 0;
  std::string why = {};  // there are none
};

// Of this machine, as this process sees them.
GpuCount gpus_here();

std::string to_line(const GpuCount& count);
// The answer among the lines of `output`, for a host may greet before it answers; nothing where there is none.
std::optional<GpuCount> find_answer(const std::string& output);

// Of the hosts that are given no number of workers; of the others, and of those that do not answer, nothing. All are asked at the
// same time.
std::vector<std::optional<GpuCount>> gpus_of(const std::vector<Host>& hosts, const LaunchTarget& target,
                                             const Environment& environment);

// `hosts` with a worker for each GPU, where no number was given and there are GPUs. `must_have`: throws bad_input where one has none.
std::vector<Host> with_workers_per_gpu(std::vector<Host> hosts, const std::vector<std::optional<GpuCount>>& counts,
                                       bool must_have);

}  // namespace lockstep
