#include "launcher/gpu_worker.h"

#include "dist/exchange_staged.h"
#include "dist/gpu_exchange.h"

namespace lockstep {
namespace {

void register_ops(const std::string& module, KernelRegistry& kernels) {
  using Register = void(KernelRegistry*);
  reinterpret_cast<Register*>(find_in_gpu_module(module, "lockstep_register_cuda_kernels"))(&kernels);
}

}  // namespace

WorkerDevice gpu_worker(const ChosenDevice& chosen, const GpuPlace& place, const Config& config) {
  const GpuOptions options{.tf32 = config.train.precision == TrainPrecision::kTF32};
  WorkerDevice out;
  out.device = chosen.gpu->make_device(place.index, options);
  out.workers = place.workers;
  out.hides_exchange = !place.any_shared && !nccl_version(chosen.module).empty();
  out.register_kernels = [module = chosen.module, nccl = out.hides_exchange, deadline = config.run.deadline](
                             KernelRegistry& kernels, Communicator& communicator,
                             Device& device) -> std::shared_ptr<void> {
    register_ops(module, kernels);
    if (communicator.size() == 1) return nullptr;
    std::string why;
    std::shared_ptr<GpuExchange> exchange;
    if (nccl) exchange = make_gpu_exchange(module, communicator, device, deadline, why);
    if (exchange == nullptr) {
      register_exchange_staged(kernels, communicator, device);
    } else {
      exchange->register_kernels(kernels);
    }
    return exchange;
  };
  return out;
}

}  // namespace lockstep
