// The GPU backend is a module beside the program, opened at run time: the program itself links nothing of CUDA, and where
// module, CUDA libraries, driver or GPU are missing, that is an ordinary condition with a reason.
//
// The module exports functions of C linkage: `lockstep_gpu_backend` of this floor (GpuBackend* without arguments; the object
// lives as long as the process), and one each of the floors above, for what they add (ops/register.h, dist/gpu_exchange.h).
// Program and module are of the same build.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/device/device.h"

namespace lockstep {

// How a GPU computes.
struct GpuOptions {
  // Matrix products and convolutions of f32 may round their inputs to TF32 (10 bits of mantissa).
  bool tf32 = false;
};

struct GpuDescription {
  std::string name;       // "NVIDIA H200"
  std::string uuid;       // "GPU-1b2c...": the same GPU has the same one in every process
  std::string bus;        // "0000:1b:00.0", as in /sys/bus/pci/devices
  std::size_t memory = 0;  // bytes
  int major = 0, minor = 0;  // compute capability
  int multiprocessors = 0;
};

class GpuBackend {
 public:
  virtual ~GpuBackend() = default;
  // Changes with the interface; the program opens modules with its own number only.
  static constexpr int kVersion = 4;
  virtual int version() const = 0;
  // Names and versions of the driver and the libraries: {"driver", "13.0"}, {"CUDA", "13.0"}, {"cuDNN", "9.19.0"}, ...
  virtual std::vector<std::pair<std::string, std::string>> libraries() const = 0;
  // What its kernels are compiled for, as CMake names it, with commas: "80-real,90-real,100". For is_compiled_for().
  virtual std::string architectures() const = 0;
  // Number of GPUs; 0 with the reason in `why` where there is none that can be used.
  virtual int device_count(std::string& why) const = 0;
  // REQUIRES for these: 0 <= index < device_count().
  virtual GpuDescription describe(int index) const = 0;
  // Whether `from` reads the memory of `to` without the host.
  virtual bool peer_access(int from, int to) const = 0;
  virtual std::unique_ptr<Device> make_device(int index, const GpuOptions& options) const = 0;
};

// Whether what is compiled for those architectures runs on GPUs of that compute capability: as their own code, which runs on
// later ones of the same major number too, or as PTX, which the driver translates for any later one.
bool is_compiled_for(const std::string& architectures, int major, int minor);

// Whether this machine has a driver for GPUs at all; else the reason is in `why`. Costs next to nothing.
bool has_gpu_driver(std::string& why);

// The backend, or nullptr and the reason in `why`. `path` is the module's file.
GpuBackend* open_gpu_module(const std::string& path, std::string& why);

// A function of C linkage that the module exports. REQUIRES: the module at `path` was opened.
void* find_in_gpu_module(const std::string& path, const char* name);

// Where the module of this program lies: ../lib/lockstep_cuda.so from the program's folder.
std::string gpu_module_path();

}  // namespace lockstep
