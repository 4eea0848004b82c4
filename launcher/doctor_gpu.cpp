#include <cstdio>

#include "core/base/error.h"
#include "launcher/doctor.h"

namespace lockstep {
namespace {

constexpr int kLeastCapability = 8;  // major: bf16 and TF32 begin there

Finding look_at_gpu(const GpuBackend& backend, int index) {
  const GpuDescription gpu = backend.describe(index);
  char memory[32];
  std::snprintf(memory, sizeof memory, "%.1f GB", static_cast<double>(gpu.memory) / 1e9);
  const std::string capability = text(gpu.major, ".", gpu.minor);
  Finding finding{Verdict::kOk, text("GPU ", index),
                  text(gpu.name, ", ", memory, ", compute capability ", capability, ", at ", gpu.bus)};
  if (gpu.major < kLeastCapability) {
    finding.verdict = Verdict::kWarning;
    finding.remedy = text("Lockstep needs ", kLeastCapability, ".0 or more; hide it with CUDA_VISIBLE_DEVICES, or use --device cpu");
  } else if (!is_compiled_for(backend.architectures(), gpu.major, gpu.minor)) {
    finding.verdict = Verdict::kWarning;
    finding.found += text(", for which this build is not made (", backend.architectures(), ")");
    finding.remedy = text("build it with -D LOCKSTEP_CUDA_ARCHITECTURES=", gpu.major, gpu.minor);
  }
  return finding;
}

Finding look_at_libraries(const GpuBackend& backend, int gpus, const std::string& nccl) {
  Finding finding{Verdict::kOk, "GPU libraries", ""};
  for (const auto& [library, version] : backend.libraries()) finding.found += text(library, ' ', version, ", ");
  finding.found += nccl.empty() ? "no NCCL" : "NCCL " + nccl;
  if (nccl.empty() && gpus > 1) {
    finding.verdict = Verdict::kWarning;
    finding.remedy = "GPUs exchange through the host, which is slow; install NCCL (libnccl-dev) and build Lockstep again";
  }
  return finding;
}

Finding look_at_peers(const GpuBackend& backend, int gpus) {
  constexpr int kMost = 6;  // pairs that are named
  std::string apart;
  int pairs = 0;
  for (int a = 0; a < gpus; ++a) {
    for (int b = a + 1; b < gpus; ++b) {
      if (backend.peer_access(a, b) && backend.peer_access(b, a)) continue;
      if (++pairs <= kMost) apart += text(apart.empty() ? "" : ", ", a, " and ", b);
    }
  }
  if (pairs == 0) return {Verdict::kOk, "GPU to GPU", text(gpus == 2 ? "both" : text("all ", gpus), " reach each other's memory")};
  if (pairs > kMost) apart += text(" and ", pairs - kMost, " more pairs");
  return {Verdict::kWarning, "GPU to GPU", text(apart, " do not reach each other's memory"),
          "their exchange goes through the host, which is slower; a virtual machine or the IOMMU may be in the way"};
}

}  // namespace

void examine_gpus(const GpuBackend& backend, const std::string& nccl, const Tell& tell) {
  std::string why;
  const int gpus = backend.device_count(why);
  for (int i = 0; i < gpus; ++i) tell(look_at_gpu(backend, i));
  tell(look_at_libraries(backend, gpus, nccl));
  if (gpus > 1) tell(look_at_peers(backend, gpus));
}

}  // namespace lockstep
