// One worker: its device, its place in the world, and the kernels for both.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "core/base/progress.h"
#include "core/device/device.h"
#include "core/device/work_stream.h"
#include "core/kernel/kernel.h"
#include "dist/communicator.h"

namespace lockstep {

// What a worker computes with instead of the CPU.
struct WorkerDevice {
  std::unique_ptr<Device> device;
  // Registers the kernels of the ops and of the exchange, and returns what these need as long as they are there.
  std::function<std::shared_ptr<void>(KernelRegistry&, Communicator&, Device&)> register_kernels;
  int workers = 1;              // that compute on this device
  bool hides_exchange = false;  // it exchanges on a stream of its own
};

class Worker {
 public:
  // A worker on the CPU with `threads` threads for the kernels. Where there are several workers a thread of its own
  // exchanges with them.
  Worker(std::unique_ptr<Communicator> communicator, int threads);
  // A worker on another device, a GPU.
  Worker(std::unique_ptr<Communicator> communicator, int threads, WorkerDevice device);

  Device& device() { return *device_; }
  // For exchanges outside of Plans: waits for the exchange that is under way.
  Communicator& communicator();
  // Whether exchange beside the computation gains anything: it waits for a network, or there is a core for it (on a GPU: a
  // stream). On one node without a core to spare, both would only take turns.
  bool hides_exchange() const;
  // How many workers compute on this one's device.
  int workers_of_device() const;
  // Runs the exchange of Plans on the CPU; null in a world of one, and on a GPU, which has a stream for it.
  WorkStream* communication() { return communication_.get(); }
  const KernelRegistry& kernels() const { return kernels_; }
  // What this worker is doing, for those who watch it.
  Progress& progress() { return progress_; }
  int rank() const { return communicator_->rank(); }
  int world_size() const { return communicator_->size(); }

 private:
  Progress progress_;
  int threads_;
  int workers_of_device_ = 0;  // 0: all
  bool device_hides_exchange_ = false;
  std::unique_ptr<Communicator> communicator_;
  std::unique_ptr<Device> device_;
  std::unique_ptr<WorkStream> communication_;
  std::shared_ptr<void> exchange_;  // of the device's kernels
  KernelRegistry kernels_;
};

// What the environment says about the world, before MPI is asked: how many processes the launcher promised.
struct PromisedWorld {
  int size = 1;
  std::string launcher;  // "mpirun", "srun"; empty where there is none
};

// Joins the world that the launcher made; alone, MPI is not even started. Throws failed environment where the
// launcher promised another number of processes than MPI finds.
std::unique_ptr<Communicator> join_world(const PromisedWorld& promised, double deadline);

}  // namespace lockstep
