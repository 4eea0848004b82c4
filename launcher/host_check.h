// Whether hosts can be used, before something is started on them.
#pragma once

#include <string>
#include <vector>

#include "launcher/environment.h"
#include "launcher/hosts.h"
#include "launcher/launch_options.h"

namespace lockstep {

struct UnusableHost {
  std::string name;
  std::string why;     // "cannot be reached: no answer within 8 s"
  std::string remedy;  // "'ssh h1 ...' must work without a password"
};

// Those that are not known, do not answer, or lack the program; all are asked at the same time.
// This machine is not asked; in a Slurm job only names are looked up, for Slurm starts what runs
// there.
std::vector<UnusableHost> find_unusable(const std::vector<Host>& hosts, const LaunchTarget& target,
                                        const Environment& environment);

}  // namespace lockstep
