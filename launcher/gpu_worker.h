// A worker's device on a GPU of this machine: the module's device, its kernels, and the exchange with other workers.
#pragma once

#include "launcher/config.h"
#include "launcher/device_choice.h"
#include "launcher/placement.h"
#include "launcher/worker.h"

namespace lockstep {

// REQUIRES: chosen.gpu is not null.
WorkerDevice gpu_worker(const ChosenDevice& chosen, const GpuPlace& place, const Config& config);

}  // namespace lockstep
