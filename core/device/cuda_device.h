// The CUDA device, as the kernels see it that call libraries. Part of the GPU's module.
//
// One object holds one GPU: three streams (compute, communication, copy), and the libraries' handles, made when they are
// first asked for. The calling thread's current device is set by each call.
#pragma once

#include <cublasLt.h>
#include <cuda_runtime.h>
#include <cudnn.h>

#include <array>
#include <memory>
#include <string>

#include "core/device/algorithm_cache.h"
#include "core/device/cuda_check.h"
#include "core/device/gpu_module.h"

namespace lockstep {

void check_cublas(cublasStatus_t code, const char* call);

class CudaDevice final : public Device {
 public:
  CudaDevice(int index, const GpuOptions& options);
  ~CudaDevice() override;

  DeviceKind kind() const override { return DeviceKind::kCuda; }
  std::string name() const override { return properties_.name; }
  std::size_t memory_limit() const override;
  bool reads_host_memory() const override { return false; }
  void copy_in(void* device_to, const void* host_from, std::size_t bytes) override;
  void copy_out(void* host_to, const void* device_from, std::size_t bytes) override;
  void synchronize() override;
  void page_lock(void* memory, std::size_t bytes) override;
  void page_unlock(void* memory) override;

  bool queues_work() const override { return true; }
  void* stream(StreamKind kind) override { return streams_[static_cast<std::size_t>(kind)]; }
  cudaStream_t cuda_stream(StreamKind kind) const { return streams_[static_cast<std::size_t>(kind)]; }
  std::unique_ptr<Event> make_event(bool for_timing) override;
  void copy(StreamKind stream, std::span<const Transfer> transfers) override;
  void stamp(StreamKind stream, void* to) override;
  void copy_and_stamp(StreamKind stream, std::span<const Transfer> transfers, void* to) override;
  std::unique_ptr<Recording> record(const std::function<void()>& work) override;

  // For kernels that call libraries.
  const GpuOptions& options() const { return options_; }
  const cudaDeviceProp& properties() const { return properties_; }
  cublasLtHandle_t blas();
  // One handle for each stream.
  cudnnHandle_t dnn(void* stream);
  // What was chosen on this GPU with these versions of the libraries.
  AlgorithmCache* algorithms() override;
  // How long what `launch` launches on the compute stream takes the GPU, in seconds: launched several times as one where it
  // is short, so that the host's part does not count.
  double seconds_of(const std::function<void()>& launch);

  // Until the event is done. Calls look() now and then.
  void wait_for(cudaEvent_t event) const;
  void select() const { check_cuda(cudaSetDevice(index_), "cudaSetDevice"); }

 private:
  void* allocate_bytes(std::size_t bytes, MemoryKind kind) override;
  void free_bytes(void* data, std::size_t bytes, MemoryKind kind) override;

  void copy_now(void* to, const void* from, std::size_t bytes);

  const int index_;
  const GpuOptions options_;
  cudaDeviceProp properties_{};
  std::array<cudaStream_t, kStreams> streams_{};
  std::array<std::unique_ptr<Event>, kStreams> ends_;  // for synchronize()
  cublasLtHandle_t blas_ = nullptr;
  std::array<cudnnHandle_t, kStreams> dnn_{};
  std::unique_ptr<AlgorithmCache> algorithms_;
};

// One launch for several small copies: of memory of the device, or of the host where it is page-locked. Where `clock` is not
// null, the device's clock is written there.
void launch_copies(cudaStream_t stream, std::span<const Transfer> transfers, std::uint64_t* clock = nullptr);

}  // namespace lockstep
