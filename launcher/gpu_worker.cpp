#include "launcher/gpu_worker.h"

#include "dist/exchange_staged.h"

namespace lockstep {

WorkerDevice gpu_worker(const ChosenDevice& chosen, const GpuPlace& place, const Config& config) {
  const GpuOptions options{.tf32 = config.train.precision == TrainPrecision::kTF32};
  WorkerDevice out;
  out.device = chosen.gpu->make_device(place.index, options);
  out.workers = place.workers;
  out.register_kernels = [module = chosen.module](KernelRegistry& kernels, Communicator& communicator,
                                                     Device& device) -> std::shared_ptr<void> {
    using Register = void(KernelRegistry*);
    reinterpret_cast<Register*>(find_in_gpu_module(module, "lockstep_register_cuda_kernels"))(&kernels);
    register_exchange_staged(kernels, communicator, device);
    return nullptr;
  };
  return out;
}

}  // namespace lockstep
