#include "dist/gpu_exchange.h"

#include "core/device/gpu_module.h"

namespace lockstep {

std::unique_ptr<GpuExchange> make_gpu_exchange(const std::string& module, Communicator& communicator, Device& device,
                                               double deadline, std::string& why) {
  auto* make = reinterpret_cast<MakeNcclExchange*>(find_in_gpu_module(module, "lockstep_make_nccl_exchange"));
  return std::unique_ptr<GpuExchange>(make(&communicator, &device, deadline, &why));
}

std::string nccl_version(const std::string& module) {
  std::string version;
  reinterpret_cast<NcclVersion*>(find_in_gpu_module(module, "lockstep_nccl_version"))(&version);
  return version;
}

}  // namespace lockstep
