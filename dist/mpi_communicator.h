// Ranks as processes started by mpirun or srun: MPI messages between nodes, shared memory (dist/node_memory.h) between the
// ranks of a node. MPI is called by one thread at a time.
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
