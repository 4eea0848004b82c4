// Where the workers of a run are: rank -> host -> cores. Cores are divided among the workers of a host where nobody has
// done so, and what does not fit is told.
#pragma once

#include <string>
#include <vector>

#include "dist/communicator.h"

namespace lockstep {

struct WorkerPlace {
  int rank = 0;
  std::string host;
  int process = 0;
  std::vector<int> cores;  // that it may run on, in order
};

// This process.
WorkerPlace own_place(int rank);
// Of all ranks, by rank. All ranks call it.
std::vector<WorkerPlace> gather_places(Communicator& communicator);

// The cores that `rank` should have with `threads` threads for each worker: its share where all workers of its host may
// run on the same cores and there are enough for all; else the cores that it has (the launcher's choice is kept).
std::vector<int> share_of_cores(const std::vector<WorkerPlace>& places, int rank, int threads);
// Binds the calling thread, and those that it starts later.
void bind_to_cores(const std::vector<int>& cores);

// One line for each host whose workers have fewer cores than threads; empty where all fits.
std::vector<std::string> oversubscribed_hosts(const std::vector<WorkerPlace>& places, int threads);
// rank, host, process, device, cores: one line a worker. All workers compute on the same kind of device.
std::string to_table(const std::vector<WorkerPlace>& places, const std::string& device);

}  // namespace lockstep
