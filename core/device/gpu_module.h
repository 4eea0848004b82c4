// The GPU backend is a module beside the program, opened at run time: the program itself links nothing of CUDA, and where
// module, CUDA libraries, driver or GPU are missing, that is an ordinary condition with a reason.
//
// The module exports one function, `extern "C" lockstep::GpuBackend* lockstep_gpu_backend()`; the object lives as long
// as the process. Program and module are of the same build.
#pragma once

#include <memory>
#include <string>

#include "core/device/device.h"

namespace lockstep {

class GpuBackend {
 public:
  virtual ~GpuBackend() = default;
  // Changes with the interface; the program opens modules with its own number only.
  static constexpr int kVersion = 2;
  virtual int version() const = 0;
  // "CUDA 13.0"
  virtual std::string library() const = 0;
  // Number of GPUs; 0 with the reason in `why` where there is none that can be used.
  virtual int device_count(std::string& why) const = 0;
  // REQUIRES: 0 <= index < device_count().
  virtual std::unique_ptr<Device> make_device(int index) const = 0;
};

// The backend, or nullptr and the reason in `why`. `path` is the module's file.
GpuBackend* open_gpu_module(const std::string& path, std::string& why);

// Where the module of this program lies: ../lib/lockstep_cuda.so from the program's folder.
std::string gpu_module_path();

}  // namespace lockstep
