#include "tests/test_device.h"

#include "core/base/error.h"
#include "core/device/cpu_device.h"
#include "core/device/gpu_module.h"
#include "ops/register.h"
#include "tests/emulator/emulated_device.h"
#include "tests/emulator/emulated_kernels.h"

namespace lockstep::testing {
namespace {

struct Chosen {
  std::function<std::unique_ptr<Device>()> make;
  std::unique_ptr<Device> device;
  KernelRegistry registry;
};

Chosen& chosen() {
  static Chosen both;
  return both;
}

void choose_gpu(Chosen& both) {
  const std::string module = gpu_module_path();
  std::string why;
  const GpuBackend* backend = open_gpu_module(module, why);
  if (backend == nullptr || backend->device_count(why) == 0) environment_failed("there is no GPU to test on: ", why);
  both.make = [backend] { return backend->make_device(0, {}); };
  using Register = void (*)(KernelRegistry*);
  reinterpret_cast<Register>(find_in_gpu_module(module, "lockstep_register_cuda_kernels"))(&both.registry);
}

}  // namespace

void choose_test_device(const std::string& word) {
  Chosen& both = chosen();
  require(both.device == nullptr, "the device of the tests is chosen twice");
  if (word == "cpu") {
    both.make = [] { return std::make_unique<CpuDevice>(); };
    register_cpu_kernels(both.registry);
  } else if (word == "emulated") {
    both.make = [] { return std::make_unique<EmulatedDevice>(); };
    register_emulated_kernels(both.registry);
  } else if (word == "cuda") {
    choose_gpu(both);
  } else {
    bad_input("--device=", word, ": expected cpu, emulated or cuda");
  }
  both.device = both.make();
}

std::unique_ptr<Device> make_test_device() { return chosen().make(); }

void release_test_device() { chosen() = {}; }

Device& test_device() { return *chosen().device; }

const KernelRegistry& test_registry() { return chosen().registry; }

}  // namespace lockstep::testing
