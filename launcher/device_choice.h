// Where a program computes: on a GPU, or on the CPU and why.
#pragma once

#include <string>

#include "core/device/gpu_module.h"

namespace lockstep {

enum class DeviceChoice { kAuto, kCpu, kCuda };

struct ChosenDevice {
  GpuBackend* gpu = nullptr;  // null: the CPU; lives as long as the process
  std::string module = {};    // the file that it is in
  std::string why_cpu = {};   // with kAuto: why no GPU is used
};

// `module`: the file of the GPU's module. Throws bad_input where a GPU was asked for and none can be used.
ChosenDevice choose_device(DeviceChoice choice, const std::string& module = gpu_module_path());

}  // namespace lockstep
