#include "launcher/environment.h"

#include <cstdlib>
#include <string>

namespace lockstep {
namespace {

// The variable as a number, `fallback` where it is not set or no number.
int number(const char* name, int fallback) {
  const char* value = std::getenv(name);
  if (value == nullptr) return fallback;
  char* end = nullptr;
  const long parsed = std::strtol(value, &end, 10);
  return end == value ? fallback : static_cast<int>(parsed);
}

}  // namespace

Environment read_environment() {
  // Open MPI's mpirun; inside a Slurm allocation it is mpirun that counts.
  if (std::getenv("OMPI_COMM_WORLD_SIZE") != nullptr) {
    return {{number("OMPI_COMM_WORLD_SIZE", 1), "mpirun"}, number("OMPI_COMM_WORLD_RANK", 0)};
  }
  // A job step of srun; sbatch's own shell has no process number of a step with several tasks.
  if (number("SLURM_STEP_NUM_TASKS", 1) > 1) {
    return {{number("SLURM_STEP_NUM_TASKS", 1), "srun"}, number("SLURM_PROCID", 0)};
  }
  // mpiexec of MPICH or Intel: it is no launcher of Open MPI, which then sees one process.
  if (number("PMI_SIZE", 1) > 1) return {{number("PMI_SIZE", 1), "mpiexec"}, number("PMI_RANK", 0)};
  return {};
}

}  // namespace lockstep
