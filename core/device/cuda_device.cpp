#include "core/device/cuda_device.h"

#include <sched.h>
#include <time.h>

#include <algorithm>
#include <cstring>

#include "core/base/progress.h"
#include "core/device/cuda_dnn_graph.h"

namespace lockstep {

void check_cublas(cublasStatus_t code, const char* call) {
  if (code == CUBLAS_STATUS_SUCCESS) return;
  environment_failed(call, ": ", cublasLtGetStatusString(code));
}

namespace {

class CudaEvent final : public Event {
 public:
  CudaEvent(CudaDevice& device, bool for_timing) : device_(device), for_timing_(for_timing) {
    device.select();
    check_cuda(cudaEventCreateWithFlags(&event_, for_timing ? cudaEventDefault : cudaEventDisableTiming),
               "cudaEventCreateWithFlags");
  }
  ~CudaEvent() override { cudaEventDestroy(event_); }

  // In a recording, a point to be timed is a node that records the event at each launch; any other only orders streams.
  void record(StreamKind stream) override {
    cudaStream_t on = device_.cuda_stream(stream);
    cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
    if (for_timing_) check_cuda(cudaStreamIsCapturing(on, &status), "cudaStreamIsCapturing");
    const bool outside = status == cudaStreamCaptureStatusActive;
    check_cuda(cudaEventRecordWithFlags(event_, on, outside ? cudaEventRecordExternal : cudaEventRecordDefault),
               "cudaEventRecordWithFlags");
  }
  void hold(StreamKind stream) override {
    check_cuda(cudaStreamWaitEvent(device_.cuda_stream(stream), event_, cudaEventWaitDefault), "cudaStreamWaitEvent");
  }
  bool done() const override {
    const cudaError_t code = cudaEventQuery(event_);
    if (code == cudaErrorNotReady) return false;
    check_cuda(code, "work on the GPU");
    return true;
  }
  void wait() override { device_.wait_for(event_); }
  double seconds_since(const Event& earlier) const override {
    float milliseconds = 0;
    check_cuda(cudaEventElapsedTime(&milliseconds, static_cast<const CudaEvent&>(earlier).event_, event_),
               "cudaEventElapsedTime");
    return milliseconds * 1e-3;
  }

 private:
  CudaDevice& device_;
  bool for_timing_;
  cudaEvent_t event_ = nullptr;
};

class CudaRecording final : public Recording {
 public:
  CudaRecording(cudaGraph_t graph, cudaStream_t stream) : stream_(stream) {
    const cudaError_t code = cudaGraphInstantiate(&executable_, graph, 0);
    cudaGraphDestroy(graph);
    check_cuda(code, "cudaGraphInstantiate");
    check_cuda(cudaGraphUpload(executable_, stream), "cudaGraphUpload");
  }
  ~CudaRecording() override {
    if (executable_ != nullptr) cudaGraphExecDestroy(executable_);
  }
  void launch() override { check_cuda(cudaGraphLaunch(executable_, stream_), "cudaGraphLaunch"); }

 private:
  cudaStream_t stream_;
  cudaGraphExec_t executable_ = nullptr;
};

}  // namespace

CudaDevice::CudaDevice(int index, const GpuOptions& options) : index_(index), options_(options) {
  select();
  check_cuda(cudaGetDeviceProperties(&properties_, index), "cudaGetDeviceProperties");
  for (std::size_t i = 0; i < kStreams; ++i) {
    check_cuda(cudaStreamCreateWithFlags(&streams_[i], cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
    ends_[i] = make_event(false);
  }
}

CudaDevice::~CudaDevice() {
  cudaSetDevice(index_);
  for (const cudaStream_t stream : streams_) {
    if (stream != nullptr) cudaStreamSynchronize(stream);
  }
  if (blas_ != nullptr) cublasLtDestroy(blas_);
  for (const cudnnHandle_t handle : dnn_) {
    if (handle != nullptr) cudnnDestroy(handle);
  }
  for (const cudaStream_t stream : streams_) {
    if (stream != nullptr) cudaStreamDestroy(stream);
  }
}

std::size_t CudaDevice::memory_limit() const {
  std::size_t free = 0, total = 0;
  select();
  check_cuda(cudaMemGetInfo(&free, &total), "cudaMemGetInfo");
  return free;
}

void CudaDevice::copy_in(void* device_to, const void* host_from, std::size_t bytes) {
  copy_now(device_to, host_from, bytes);
}

void CudaDevice::copy_out(void* host_to, const void* device_from, std::size_t bytes) {
  copy_now(host_to, device_from, bytes);
}

// On a stream of our own: cudaMemcpy may return before the last bytes have arrived, and our streams do not wait for its.
void CudaDevice::copy_now(void* to, const void* from, std::size_t bytes) {
  if (bytes == 0) return;
  synchronize();
  check_cuda(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, cuda_stream(StreamKind::kCompute)), "cudaMemcpyAsync");
  synchronize();
}

void CudaDevice::synchronize() {
  select();
  for (std::size_t i = 0; i < kStreams; ++i) {
    ends_[i]->record(static_cast<StreamKind>(i));
    ends_[i]->wait();
  }
}

// The runtime notes what went wrong, and would tell it to whoever asks next.
void CudaDevice::page_lock(void* memory, std::size_t bytes) {
  select();
  if (cudaHostRegister(memory, bytes, cudaHostRegisterPortable) != cudaSuccess) cudaGetLastError();
}

void CudaDevice::page_unlock(void* memory) {
  select();
  if (cudaHostUnregister(memory) != cudaSuccess) cudaGetLastError();
}

// Looks without a pause for a moment: steps are short. Then it leaves the core to others between looks.
void CudaDevice::wait_for(cudaEvent_t event) const {
  constexpr double kHurry = 2e-3, kBetweenLooks = 1e-3;  // seconds
  const std::int64_t begin = monotonic_nanoseconds();
  double looked = 0;
  for (;;) {
    const cudaError_t code = cudaEventQuery(event);
    if (code != cudaErrorNotReady) return check_cuda(code, "work on the GPU");
    const double waited = static_cast<double>(monotonic_nanoseconds() - begin) * 1e-9;
    if (waited - looked > kBetweenLooks) look(looked = waited);
    if (waited > kHurry) {
      const timespec pause{0, 20'000};
      nanosleep(&pause, nullptr);
    } else {
      sched_yield();
    }
  }
}

std::unique_ptr<Event> CudaDevice::make_event(bool for_timing) {
  return std::make_unique<CudaEvent>(*this, for_timing);
}

void CudaDevice::copy(StreamKind stream, std::span<const Transfer> transfers) {
  select();
  if (stream != StreamKind::kCopy) return launch_copies(cuda_stream(stream), transfers);
  for (const Transfer& transfer : transfers) {
    check_cuda(cudaMemcpyAsync(transfer.to, transfer.from, transfer.bytes, cudaMemcpyDefault, cuda_stream(stream)),
               "cudaMemcpyAsync");
  }
}

void CudaDevice::stamp(StreamKind stream, void* to) {
  select();
  launch_copies(cuda_stream(stream), {}, static_cast<std::uint64_t*>(to));
}

void CudaDevice::copy_and_stamp(StreamKind stream, std::span<const Transfer> transfers, void* to) {
  select();
  launch_copies(cuda_stream(stream), transfers, static_cast<std::uint64_t*>(to));
}

std::unique_ptr<Recording> CudaDevice::record(const std::function<void()>& work) {
  select();
  const cudaStream_t stream = cuda_stream(StreamKind::kCompute);
  check_cuda(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "cudaStreamBeginCapture");
  cudaGraph_t graph = nullptr;
  try {
    work();
  } catch (...) {
    cudaStreamEndCapture(stream, &graph);
    if (graph != nullptr) cudaGraphDestroy(graph);
    cudaGetLastError();
    throw;
  }
  check_cuda(cudaStreamEndCapture(stream, &graph), "cudaStreamEndCapture");
  return std::make_unique<CudaRecording>(graph, stream);
}

cublasLtHandle_t CudaDevice::blas() {
  select();
  if (blas_ == nullptr) check_cublas(cublasLtCreate(&blas_), "cublasLtCreate");
  return blas_;
}

cudnnHandle_t CudaDevice::dnn(void* stream) {
  select();
  std::size_t i = 0;
  while (i + 1 < kStreams && streams_[i] != stream) ++i;
  if (dnn_[i] == nullptr) {
    check_cudnn(cudnnCreate(&dnn_[i]), "cudnnCreate");
    check_cudnn(cudnnSetStream(dnn_[i], streams_[i]), "cudnnSetStream");
  }
  return dnn_[i];
}

AlgorithmCache* CudaDevice::algorithms() {
  if (algorithms_ == nullptr) {
    algorithms_ = std::make_unique<AlgorithmCache>(
        text(properties_.name, ", compute capability ", properties_.major, ".", properties_.minor, ", ",
             properties_.multiProcessorCount, " multiprocessors, cuBLASLt ", cublasLtGetVersion(), ", cuDNN ",
             cudnnGetVersion()));
  }
  return algorithms_.get();
}

double CudaDevice::seconds_of(const std::function<void()>& launch) {
  constexpr double kEnough = 200e-6;  // seconds to be measured at once
  constexpr double kMostRepeats = 20;
  const auto begin = make_event(true), end = make_event(true);
  const auto timed = [&](const std::function<void()>& work) {
    begin->record(StreamKind::kCompute);
    work();
    end->record(StreamKind::kCompute);
    end->wait();
    return end->seconds_since(*begin);
  };
  launch();  // loads what it needs
  const double once = timed(launch);
  const auto repeats = static_cast<int>(std::clamp(kEnough / once, 1.0, kMostRepeats));
  if (repeats == 1) return once;
  const auto all = record([&] {
    for (int i = 0; i < repeats; ++i) launch();
  });
  return timed([&] { all->launch(); }) / repeats;
}

void* CudaDevice::allocate_bytes(std::size_t bytes, MemoryKind kind) {
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
    check_cuda(cudaStreamSynchronize(cudaStreamLegacy), "cudaStreamSynchronize");
  }
  return data;
}

void CudaDevice::free_bytes(void* data, std::size_t, MemoryKind kind) {
  cudaSetDevice(index_);
  if (kind == MemoryKind::kStaging) {
    cudaFreeHost(data);
  } else {
    cudaFree(data);
  }
}

}  // namespace lockstep
