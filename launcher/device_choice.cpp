#include "launcher/device_choice.h"

#include "core/base/error.h"

namespace lockstep {

ChosenDevice choose_device(DeviceChoice choice, const std::string& module) {
  if (choice == DeviceChoice::kCpu) return {};
  std::string why;
  // Without a driver the module is of no use, and its libraries take a tenth of a second to load.
  GpuBackend* backend = has_gpu_driver(why) ? open_gpu_module(module, why) : nullptr;
  if (backend != nullptr && backend->device_count(why) > 0) return {backend, module, {}};
  if (choice == DeviceChoice::kCuda) bad_input("--device cuda: no GPU can be used: ", why, "; use --device cpu");
  return {nullptr, {}, why};
}

}  // namespace lockstep
