// Ranks as processes started by mpirun or srun, over MPI point-to-point messages. MPI is used by one thread only.
#pragma once

#include <memory>

#include "dist/communicator.h"

namespace lockstep {

// Initialises MPI and gives the world; finalises it with the object. `deadline` in seconds, for each wait. One object
// a process. Throws failed environment where MPI cannot start.
std::unique_ptr<Communicator> make_mpi_communicator(double deadline);

// Ends all ranks of the MPI world at once with that exit code, where MPI is running in this process; returns where it
// is not.
void abort_mpi_world(int exit_code);

}  // namespace lockstep
