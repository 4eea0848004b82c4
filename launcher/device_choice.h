// Where a program computes: on a GPU, or on the CPU and why.
#pragma once

#include <string>

#include "core/device/gpu_module.h"

namespace lockstep {

enum class DeviceChoice { kAuto, kCpu, kCuda };

struct ChosenDevice {
  GpuBackend* gpu = nullptr;  // null: the CPU; lives as long as the process
  std::string why_cpu = {};   // with kAuto: why no GPU is used
};

// Throws bad_input where a GPU was asked for and none can be used.
ChosenDevice choose_device(DeviceChoice choice);

}  // namespace lockstep
