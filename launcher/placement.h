// Where the workers of a run are: rank -> host -> GPU and cores. GPUs and cores are divided among the workers of a host where
// nobody has done so, and what does not fit is told.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "core/device/gpu_module.h"
#include "dist/communicator.h"

namespace lockstep {

// A GPU that a worker sees.
struct VisibleGpu {
  std::string uuid;  // the same in every process that sees it
  std::string bus;   // "0000:1b:00.0"
  bool operator==(const VisibleGpu&) const = default;
};

struct WorkerPlace {
  int rank = 0;
  std::string host;
  int process = 0;
  std::vector<int> cores;             // that it may run on, in order
  std::vector<VisibleGpu> gpus = {};  // as CUDA numbers them in that process; none: it computes on the CPU
  int gpu = -1;                       // the one that it takes; -1: none
};

// What one worker computes on.
struct GpuPlace {
  int index = 0;    // of the GPU, among those that this process sees
  int workers = 1;  // that compute on it
  // Two workers of the run compute on one GPU: then all exchange through the memory of their hosts.
  bool any_shared = false;
};

struct PlacementOptions {
  int threads = 1;                    // of each worker
  std::vector<VisibleGpu> gpus = {};  // that this worker sees; none: it computes on the CPU
  bool may_share_gpu = false;         // run.share_gpu
};

// Chooses the GPUs, divides the cores, binds the calling thread to its share (a world of one keeps what it has), and returns
// where all workers are then, by rank. All ranks call it. Throws a SharedError (dist/agree.h) on all of them where two workers would
// compute on one GPU unasked.
std::vector<WorkerPlace> place_workers(Communicator& communicator, const PlacementOptions& options);

// ---- Its parts -------------------------------------------------------------------------------------

// This process.
WorkerPlace own_place(int rank);
// Of all ranks, by rank. All ranks call it, each with its own.
std::vector<WorkerPlace> gather_places(Communicator& communicator, const WorkerPlace& mine);
std::vector<WorkerPlace> gather_places(Communicator& communicator);

// The GPUs that this process sees.
std::vector<VisibleGpu> visible_gpus(const GpuBackend& backend);
// Gives each worker that sees GPUs one of them: the first that the fewest workers have. Those who see the same ones take them in
// order of their ranks; whom the launcher has given its own takes that. Throws bad_input with the remedy where two would take the
// same one, unless they may share it: then they take turns.
void choose_gpus(std::vector<WorkerPlace>& places, bool may_share);
// REQUIRES: places[rank] has a GPU.
GpuPlace gpu_place(const std::vector<WorkerPlace>& places, int rank);

// The cores that are near a GPU (of its NUMA node), by its bus; none where that is not known.
using CoresNear = std::function<std::vector<int>(const std::string& bus)>;
// As the system says: `read` gives the text of a file, empty where there is none.
std::vector<int> cores_near_gpu(const std::string& bus, const std::function<std::string(const std::string& path)>& read);

// The cores that `rank` should have with `threads` threads for each worker: its share where all workers of its host may
// run on the same cores and there are enough for all; else the cores that it has (the launcher's choice is kept). Workers on GPUs
// share the cores near them, where there are enough.
std::vector<int> share_of_cores(const std::vector<WorkerPlace>& places, int rank, int threads, const CoresNear& near = {});
// Binds the calling thread, and those that it starts later.
void bind_to_cores(const std::vector<int>& cores);

// One line for each host whose workers have fewer cores than threads; empty where all fits.
std::vector<std::string> oversubscribed_hosts(const std::vector<WorkerPlace>& places, int threads);
// rank, host, process, device, cores: one line a worker. All workers compute on the same kind of device; of GPUs number and bus
// are told.
std::string to_table(const std::vector<WorkerPlace>& places, const std::string& device);

}  // namespace lockstep
