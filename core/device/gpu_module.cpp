#include "core/device/gpu_module.h"

#include <dlfcn.h>

#include <charconv>
#include <filesystem>
#include <sstream>

#include "core/base/error.h"

namespace lockstep {

namespace {

bool architecture_runs_on(const std::string& architecture, int capability) {
  int number = 0;
  const auto [end, error] = std::from_chars(architecture.data(), architecture.data() + architecture.size(), number);
  if (error != std::errc()) return true;  // "native", "all": not known here
  const std::string kind(end, architecture.data() + architecture.size());
  if (kind.starts_with("a")) return number == capability;  // "90a": for that one only
  const bool own_code = kind != "-virtual" && number / 10 == capability / 10 && number <= capability;
  const bool ptx = kind != "-real" && number <= capability;
  return own_code || ptx;
}

}  // namespace

bool is_compiled_for(const std::string& architectures, int major, int minor) {
  std::istringstream in(architectures);
  for (std::string one; std::getline(in, one, ',');) {
    if (architecture_runs_on(one, 10 * major + minor)) return true;
  }
  return false;
}

bool has_gpu_driver(std::string& why) {
  if (dlopen("libcuda.so.1", RTLD_LAZY | RTLD_LOCAL) != nullptr) return true;
  why = "this machine has no NVIDIA driver (libcuda.so.1)";
  return false;
}

GpuBackend* open_gpu_module(const std::string& path, std::string& why) {
  if (!std::filesystem::exists(path)) {
    why = "this build has no GPU backend (" + path + " is missing; it is built where the CUDA toolkit is found)";
    return nullptr;
  }
  void* module = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (module == nullptr) {
    why = "the GPU backend cannot be opened: " + std::string(dlerror());
    return nullptr;
  }
  using Entry = GpuBackend* (*)();
  const auto entry = reinterpret_cast<Entry>(dlsym(module, "lockstep_gpu_backend"));
  if (entry == nullptr) {
    why = path + " is no GPU backend: " + std::string(dlerror());
    return nullptr;
  }
  GpuBackend* backend = entry();
  if (backend->version() != GpuBackend::kVersion) {
    why = path + " belongs to another version of Lockstep";
    return nullptr;
  }
  return backend;
}

void* find_in_gpu_module(const std::string& path, const char* name) {
  void* module = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NOLOAD);
  require(module != nullptr, path, " was not opened");
  void* found = dlsym(module, name);
  require(found != nullptr, path, " has no ", name);
  return found;
}

std::string gpu_module_path() {
  std::error_code none;
  const auto program = std::filesystem::read_symlink("/proc/self/exe", none);
  return (program.parent_path().parent_path() / "lib" / "lockstep_cuda.so").string();
}

}  // namespace lockstep
