// What the environment variables say: the only place that reads them.
#pragma once

#include "launcher/worker.h"

namespace lockstep {

struct Environment {
  PromisedWorld world;  // set by mpirun or srun
  int rank = 0;         // as they say; 0 where they say nothing
};

Environment read_environment();

}  // namespace lockstep
