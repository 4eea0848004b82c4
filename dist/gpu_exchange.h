// The exchange between the GPUs of a run by NCCL. It is part of the GPU's module (core/device/gpu_module.h), where that was
// built with NCCL; elsewhere workers exchange through the host (dist/exchange_staged.h).
//
// The object belongs to the thread that launches on the device. While the host waits for the device it looks for errors of
// NCCL, and for its deadline: an exchange that does not end is aborted, and the wait throws a LateError that names it.
#pragma once

#include <memory>
#include <string>

#include "core/kernel/kernel.h"
#include "dist/communicator.h"

namespace lockstep {

class GpuExchange {
 public:
  virtual ~GpuExchange() = default;
  virtual std::string library() const = 0;  // "NCCL 2.28.9"
  // Kernels of the exchange for DeviceKind::kCuda. The object outlives them, and every recording of them.
  virtual void register_kernels(KernelRegistry& registry) = 0;
  // Queues the library's own all-reduce of `count` floats of the device's memory: what others are measured against.
  virtual void all_reduce(float* data, std::size_t count, void* stream) = 0;
};

// All ranks together. Null with the reason in `why` where the module has no NCCL; that is so on all ranks, for they run the
// same build. Throws a SharedError on all ranks (dist/agree.h) where NCCL cannot connect them within `deadline` seconds.
// `communicator` is used by this function only; `device` is one of the module's, and outlives the object.
// REQUIRES: the module at `module` was opened; no two ranks have the same GPU.
std::unique_ptr<GpuExchange> make_gpu_exchange(const std::string& module, Communicator& communicator, Device& device,
                                               double deadline, std::string& why);

// "2.28.9"; empty where the module has no NCCL. REQUIRES: the module was opened.
std::string nccl_version(const std::string& module);

// ---- What the module exports, with C linkage ------------------------------------------------------

// lockstep_make_nccl_exchange: the caller owns the object.
using MakeNcclExchange = GpuExchange*(Communicator*, Device*, double deadline, std::string* why);
// lockstep_nccl_version.
using NcclVersion = void(std::string*);

}  // namespace lockstep
