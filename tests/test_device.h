// The device that a test program runs on, chosen on its command line:
//   --device=cpu       the CPU and its kernels (default)
//   --device=emulated  the CUDA kernels, on the CPU thread by thread (tests/emulator)
//   --device=cuda      the GPU, through the module of this build
// Programs of lockstep_device_test (cmake/LockstepTest.cmake) have the main function that reads it.
#pragma once

#include <memory>
#include <string>

#include "core/device/device.h"
#include "core/kernel/kernel.h"

namespace lockstep::testing {

Device& test_device();
// The kernels of all ops for that device.
const KernelRegistry& test_registry();

// One more device of that kind, for a worker of its own.
std::unique_ptr<Device> make_test_device();

// For the main function: chooses the device. Throws bad_input for other words, failed environment where there is no GPU.
void choose_test_device(const std::string& word);
// For the main function, at its end: a GPU's libraries are not to be called when the process ends.
void release_test_device();

}  // namespace lockstep::testing
