#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "core/base/error.h"
#include "core/base/hdf5/hdf5.h"
#include "core/base/machine.h"
#include "core/device/cpu_device.h"
#include "core/device/gpu_module.h"
#include "dist/gpu_exchange.h"
#include "launcher/doctor.h"
#include "launcher/hosts.h"
#include "launcher/mpirun.h"

namespace lockstep {
namespace {

constexpr std::uint64_t kFewFiles = 1024;

std::string gigabytes(double bytes) {
  char out[32];
  std::snprintf(out, sizeof out, "%.1f GB", bytes / 1e9);
  return out;
}

Finding look_at_processor() {
  std::string features = "AVX2";
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512bw")) features += ", AVX-512";
  const bool bf16 = __builtin_cpu_supports("avx512bf16");
#else
  features = "no x86-64";
  const bool bf16 = false;
#endif
  features += bf16 ? ", bf16" : "; no bf16 instructions: precision = \"f32\" is the fast one";
  return {Verdict::kOk, "processor", text(CpuDevice().name(), ": ", features)};
}

// Cores that the container may use, by the kernel's control group; 0 where it says nothing.
double quota_of_cores() {
  std::ifstream in("/sys/fs/cgroup/cpu.max");
  std::string quota;
  double period = 0;
  if (!(in >> quota >> period) || quota == "max" || period <= 0) return 0;
  return std::strtod(quota.c_str(), nullptr) / period;
}

Finding look_at_memory() {
  constexpr double kLittle = 1e9;
  const auto available = static_cast<double>(available_memory());
  const double all =
      static_cast<double>(sysconf(_SC_PHYS_PAGES)) * static_cast<double>(sysconf(_SC_PAGESIZE));
  Finding finding{Verdict::kOk, "memory",
                  text(gigabytes(available), " of ", gigabytes(all), " are free")};
  if (available < kLittle) {
    finding.verdict = Verdict::kWarning;
    finding.remedy = "end other programs, or start fewer workers";
  }
  return finding;
}

// Workers of one machine exchange through memory files.
Finding look_at_shared_memory() {
  constexpr std::size_t kBytes = 4096;
  const char* remedy =
      "workers of one machine fall back to messages, which is slower; allow memfd_create (seccomp)";
  const int file = memfd_create("lockstep-doctor", MFD_CLOEXEC);
  if (file < 0) {
    return {Verdict::kWarning, "shared memory", text("memfd_create: ", std::strerror(errno)),
            remedy};
  }
  // As another worker opens it.
  const std::string path = text("/proc/", getpid(), "/fd/", file);
  void* memory = MAP_FAILED;
  std::string why = "ftruncate";
  if (ftruncate(file, kBytes) == 0) {
    why = "mmap of " + path;
    if (std::FILE* again = std::fopen(path.c_str(), "r+")) {
      memory = mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_SHARED, fileno(again), 0);
      std::fclose(again);
    }
  }
  const int reason = errno;
  ::close(file);
  if (memory == MAP_FAILED) {
    return {Verdict::kWarning, "shared memory", text(why, ": ", std::strerror(reason)), remedy};
  }
  munmap(memory, kBytes);
  return {Verdict::kOk, "shared memory", "memory files can be shared"};
}

void look_at_gpus(const Tell& tell) {
  std::string why;
  if (!has_gpu_driver(why)) return tell({Verdict::kOk, "GPU", "none is used: " + why});
  const std::string module = gpu_module_path();
  const GpuBackend* backend = open_gpu_module(module, why);
  if (backend == nullptr && std::filesystem::exists(module)) {
    return tell({Verdict::kWarning, "GPU", "none can be used: " + why,
                 "build or install all of Lockstep again, or go on with the CPU"});
  }
  if (backend == nullptr || backend->device_count(why) == 0) return tell({Verdict::kOk, "GPU", "none is used: " + why});
  examine_gpus(*backend, nccl_version(module), tell);
}

}  // namespace

Finding judge_cores(int usable, int online, double quota) {
  Finding finding{Verdict::kOk, "cores", text(usable, usable == 1 ? " core" : " cores")};
  if (quota > 0 && quota < usable) {
    char cores[32];
    std::snprintf(cores, sizeof cores, "%.3g", quota);
    finding.verdict = Verdict::kWarning;
    finding.found = text(finding.found, ", but the container may use only ", cores, " of them");
    finding.remedy = text("start at most ", std::max(1, static_cast<int>(std::floor(quota))),
                          " workers with -n, or raise its limit");
  } else if (usable < online) {
    finding.found += text(" of ", online, " threads of this machine may be used");
  }
  return finding;
}

Finding judge_open_files(std::uint64_t limit) {
  if (limit == RLIM_INFINITY) return {Verdict::kOk, "open files", "no limit"};
  Finding finding{Verdict::kOk, "open files", text("the limit is ", limit)};
  if (limit < kFewFiles) {
    finding.verdict = Verdict::kWarning;
    finding.remedy = "a dataset of many shards needs more; raise it with ulimit -n 4096";
  }
  return finding;
}

void examine_machine(const Tell& tell) {
  tell(look_at_processor());
  tell(judge_cores(usable_cores(), static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN)),
                   quota_of_cores()));
  tell(look_at_memory());
  tell(look_at_shared_memory());
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  tell(judge_open_files(files.rlim_cur));
  tell({Verdict::kOk, "libraries", text(cpu_library(), ", HDF5 ", hdf5_version())});
  look_at_gpus(tell);
}

}  // namespace lockstep
