// What the environment variables say: the only place that reads them.
#pragma once

#include <string>
#include <vector>

#include "launcher/worker.h"

namespace lockstep {

struct Environment {
  PromisedWorld world;  // set by mpirun or srun
  int rank = 0;         // as they say; 0 where they say nothing
  bool lacks_pmi = false;  // srun has given its processes nothing by which MPI would find the others
  std::string allocation = {};         // "Slurm job 17" where a batch system has given hosts; else empty
  // Its hosts and their tasks, as Slurm writes them (launcher/slurm_hosts.h).
  std::string allocated_nodes = {}, allocated_tasks = {};
  std::vector<std::string> path = {};  // folders in which programs are looked for
};

Environment read_environment();

// The path of a program in the folders of PATH; empty where there is none.
std::string find_program(const std::string& name, const Environment& environment);

}  // namespace lockstep
