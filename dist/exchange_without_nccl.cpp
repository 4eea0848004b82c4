// What the GPU's module exports where NCCL was not found when it was built.
#include "dist/gpu_exchange.h"

extern "C" {

__attribute__((visibility("default"))) lockstep::GpuExchange* lockstep_make_nccl_exchange(
    lockstep::Communicator*, lockstep::Device*, double, std::string* why) {
  *why = "this build has no NCCL";
  return nullptr;
}

__attribute__((visibility("default"))) void lockstep_nccl_version(std::string* version) { version->clear(); }

}  // extern "C"
