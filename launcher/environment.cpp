#include "launcher/environment.h"

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <sstream>
#include <string_view>

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

std::string word(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

// PMIx says where its server is in PMIX_..., older ones in PMI_..., PMI2_...
bool has_pmi() {
  for (char** variable = environ; *variable != nullptr; ++variable) {
    if (std::string_view(*variable).starts_with("PMI")) return true;
  }
  return false;
}

Environment read_world() {
  // Open MPI's mpirun; inside a Slurm allocation it is mpirun that counts.
  if (std::getenv("OMPI_COMM_WORLD_SIZE") != nullptr) {
    return {{number("OMPI_COMM_WORLD_SIZE", 1), "mpirun"}, number("OMPI_COMM_WORLD_RANK", 0)};
  }
  // A job step of srun; sbatch's own shell has no process number of a step with several tasks.
  if (number("SLURM_STEP_NUM_TASKS", 1) > 1) {
    return {{number("SLURM_STEP_NUM_TASKS", 1), "srun"}, number("SLURM_PROCID", 0), !has_pmi()};
  }
  // mpiexec of MPICH or Intel: it is no launcher of Open MPI, which then sees one process.
  if (number("PMI_SIZE", 1) > 1) return {{number("PMI_SIZE", 1), "mpiexec"}, number("PMI_RANK", 0)};
  return {};
}

}  // namespace

Environment read_environment() {
  Environment out = read_world();
  if (const char* job = std::getenv("SLURM_JOB_ID")) out.allocation = std::string("Slurm job ") + job;
  out.allocated_nodes = word("SLURM_JOB_NODELIST");
  out.allocated_tasks = word("SLURM_TASKS_PER_NODE");
  const char* path = std::getenv("PATH");
  std::istringstream folders(path == nullptr ? "/usr/local/bin:/usr/bin:/bin" : path);
  for (std::string folder; std::getline(folders, folder, ':');) {
    out.path.push_back(folder.empty() ? "." : folder);
  }
  return out;
}

std::string find_program(const std::string& name, const Environment& environment) {
  for (const std::string& folder : environment.path) {
    const std::string path = folder + "/" + name;
    if (access(path.c_str(), X_OK) == 0 && !std::filesystem::is_directory(path)) return path;
  }
  return "";
}

}  // namespace lockstep
