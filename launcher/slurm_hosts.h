// The hosts of a Slurm job, as its variables say them.
//
//   nodes := item ("," item)*        item := PREFIX [ "[" range ("," range)* "]" SUFFIX ]
//   "n[01-03,7],gpu2" range := NUMBER [ "-" NUMBER ]   numbers keep their leading zeros tasks :=
//   count ("," count)*      count := NUMBER [ "(x" NUMBER ")" ]                     "4(x3),2"
#pragma once

#include <string>
#include <vector>

#include "launcher/hosts.h"

namespace lockstep {

// Of SLURM_JOB_NODELIST and SLURM_TASKS_PER_NODE; hosts without a number where there are fewer of
// them than nodes. None where `nodes` is written in another way.
std::vector<Host> slurm_hosts(const std::string& nodes, const std::string& tasks);

}  // namespace lockstep
