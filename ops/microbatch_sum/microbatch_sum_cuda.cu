#include "core/kernel/cuda_kernel.h"
#include "ops/microbatch_sum/microbatch_sum.h"

namespace lockstep {

void register_microbatch_sum_cuda(KernelRegistry& registry) {
  registry.add("microbatch_sum", DeviceKind::kCuda,
               {[](const KernelRequest& request) -> Kernel {
                  const std::size_t bytes = request.outputs[0].bytes();
                  return {"microbatch_sum_cuda",
                          [bytes](const Launch& on) { queue_copy(on, on.outputs[0], on.inputs[0], bytes); }};
                },
                nullptr});
}

}  // namespace lockstep
