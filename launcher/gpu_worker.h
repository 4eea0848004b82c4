// A worker's device on a GPU of this machine: the module's device, its kernels, and the exchange with other workers.
#pragma once

#include "launcher/config.h"
#include "launcher/device_choice.h"
#include "launcher/worker.h"

namespace lockstep {

struct GpuPlace {
  int index = 0;    // of the GPU, among those that this process sees
  int workers = 1;  // that compute on it
  // Two workers of the run compute on one GPU: then all exchange through the memory of their hosts.
  bool any_shared = false;
};

// REQUIRES: chosen.gpu is not null.
WorkerDevice gpu_worker(const ChosenDevice& chosen, const GpuPlace& place, const Config& config);

}  // namespace lockstep
