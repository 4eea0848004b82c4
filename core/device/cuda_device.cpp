// The CUDA device, in the module that core/device/gpu_module.h opens. Memory, copies and the wait for the device; one
// device object holds one GPU.
#include <cuda_runtime_api.h>

#include <cstring>

#include "core/base/error.h"
#include "core/device/gpu_module.h"

namespace lockstep {
namespace {

void check_cuda(cudaError_t code, const char* call) {
  if (code == cudaSuccess) return;
  environment_failed(call, ": ", cudaGetErrorString(code), " (", cudaGetErrorName(code), ")");
}

class CudaDevice final : public Device {
 public:
  explicit CudaDevice(int index) : index_(index) {
    check_cuda(cudaSetDevice(index), "cudaSetDevice");
    check_cuda(cudaGetDeviceProperties(&properties_, index), "cudaGetDeviceProperties");
  }

  DeviceKind kind() const override { return DeviceKind::kCuda; }
  std::string name() const override { return properties_.name; }

  std::size_t memory_limit() const override {
    std::size_t free = 0, total = 0;
    select();
    check_cuda(cudaMemGetInfo(&free, &total), "cudaMemGetInfo");
    return free;
  }

  bool reads_host_memory() const override { return false; }
  void copy_in(void* device_to, const void* host_from, std::size_t bytes) override {
    select();
    check_cuda(cudaMemcpy(device_to, host_from, bytes, cudaMemcpyHostToDevice), "cudaMemcpy to the GPU");
  }
  void copy_out(void* host_to, const void* device_from, std::size_t bytes) override {
    select();
    check_cuda(cudaMemcpy(host_to, device_from, bytes, cudaMemcpyDeviceToHost), "cudaMemcpy from the GPU");
  }
  void synchronize() override {
    select();
    check_cuda(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
  }

 private:
  // The runtime's current device belongs to the calling thread.
  void select() const { check_cuda(cudaSetDevice(index_), "cudaSetDevice"); }

  void* allocate_bytes(std::size_t bytes, MemoryKind kind) override {
    select();
    const bool staging = kind == MemoryKind::kStaging;
    void* data = nullptr;
    if ((staging ? cudaMallocHost(&data, bytes) : cudaMalloc(&data, bytes)) != cudaSuccess) {
      cudaGetLastError();  // out of memory is told by the caller; clear the runtime's note of it
      return nullptr;
    }
    if (staging) {
      std::memset(data, 0, bytes);
    } else {
      check_cuda(cudaMemset(data, 0, bytes), "cudaMemset");
    }
    return data;
  }
  void free_bytes(void* data, std::size_t, MemoryKind kind) override {
    if (kind == MemoryKind::kStaging) {
      cudaFreeHost(data);
    } else {
      cudaFree(data);
    }
  }

  int index_;
  cudaDeviceProp properties_{};
};

class CudaBackend final : public GpuBackend {
 public:
  int version() const override { return kVersion; }
  std::string library() const override {
    int version = 0;
    check_cuda(cudaRuntimeGetVersion(&version), "cudaRuntimeGetVersion");
    return text("CUDA ", version / 1000, ".", version % 1000 / 10);
  }
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
  std::unique_ptr<Device> make_device(int index) const override {
    return std::make_unique<CudaDevice>(index);
  }
};

}  // namespace
}  // namespace lockstep

extern "C" __attribute__((visibility("default"))) lockstep::GpuBackend* lockstep_gpu_backend() {
  static lockstep::CudaBackend backend;
  return &backend;
}
