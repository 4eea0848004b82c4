// What the GPU's module says of itself and of the machine's GPUs.
#include <cublasLt.h>
#include <cudnn.h>

#include <cctype>
#include <cstdio>

#include "core/device/cuda_device.h"

namespace lockstep {
namespace {

std::string cuda_version(int version) { return text(version / 1000, ".", version % 1000 / 10); }
// 90500, 91900: as cuDNN and cuBLAS count.
std::string library_version(std::size_t version) {
  return text(version / 10000, ".", version % 10000 / 100, ".", version % 100);
}

class CudaBackend final : public GpuBackend {
 public:
  int version() const override { return kVersion; }

  std::vector<std::pair<std::string, std::string>> libraries() const override {
    int driver = 0, runtime = 0;
    cudaDriverGetVersion(&driver);  // 0 where there is none
    check_cuda(cudaRuntimeGetVersion(&runtime), "cudaRuntimeGetVersion");
    return {{"driver for CUDA", driver == 0 ? "none" : cuda_version(driver)},
            {"CUDA", cuda_version(runtime)},
            {"cuBLASLt", library_version(cublasLtGetVersion())},
            {"cuDNN", library_version(cudnnGetVersion())}};
  }

  std::string architectures() const override { return LOCKSTEP_CUDA_ARCHITECTURES; }

  int device_count(std::string& why) const override {
    int count = 0;
    const cudaError_t code = cudaGetDeviceCount(&count);
    if (code != cudaSuccess) {
      why = cudaGetErrorString(code);
      return 0;
    }
    if (count == 0) why = "no GPU is visible";
    return count;
  }

  GpuDescription describe(int index) const override {
    cudaDeviceProp properties{};
    check_cuda(cudaGetDeviceProperties(&properties, index), "cudaGetDeviceProperties");
    char bus[32] = {};
    check_cuda(cudaDeviceGetPCIBusId(bus, sizeof bus, index), "cudaDeviceGetPCIBusId");
    for (char& digit : bus) digit = static_cast<char>(std::tolower(static_cast<unsigned char>(digit)));  // as /sys writes it
    std::string uuid = "GPU-";
    for (int i = 0; i < 16; ++i) {
      char byte[4];
      std::snprintf(byte, sizeof byte, "%02x", static_cast<unsigned char>(properties.uuid.bytes[i]));
      uuid += std::string(i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "") + byte;
    }
    return {properties.name,       uuid, bus, properties.totalGlobalMem, properties.major, properties.minor,
            properties.multiProcessorCount};
  }

  bool peer_access(int from, int to) const override {
    int can = 0;
    check_cuda(cudaDeviceCanAccessPeer(&can, from, to), "cudaDeviceCanAccessPeer");
    return can != 0;
  }

  std::unique_ptr<Device> make_device(int index, const GpuOptions& options) const override {
    return std::make_unique<CudaDevice>(index, options);
  }
};

}  // namespace
}  // namespace lockstep

extern "C" __attribute__((visibility("default"))) lockstep::GpuBackend* lockstep_gpu_backend() {
  static lockstep::CudaBackend backend;
  return &backend;
}
