// CUDA kernel of the loss with its gradient: one launch, in which each row of logits is read once where it can be held.
#include "ops/losses/cross_entropy_with_gradient.h"
#include "ops/losses/softmax_cross_entropy_cuda.h"

namespace lockstep {
namespace {

using namespace cross_entropy;  // NOLINT: its file is written for this one and for softmax_cross_entropy_cuda.cu

Kernel cross_entropy_with_gradient_cuda(const KernelRequest& request) {
  const Rows rows(request, request.inputs.size(), request.op_as<CrossEntropyWithGradientOp>().loss());
  const GradientLaunch gradient(rows, request.inputs[0].dtype == DType::kBF16);
  const LossMemory memory(request.device, gradient.loss_blocks());
  return for_cuda_floating(request, request.inputs[0].dtype, [&]<typename T>(T) -> Kernel {
    return {"softmax_cross_entropy_with_gradient_cuda",
            [=](const Launch& on) {
              gradient.run(on, memory.grid(), GradientAndLoss{memory.sum(on, rows.scale)}, on.output<T>(1));
            },
            memory.workspace_bytes()};
  });
}

}  // namespace

void register_cross_entropy_with_gradient_cuda(KernelRegistry& registry) {
  registry.add("softmax_cross_entropy_with_gradient", DeviceKind::kCuda, {cross_entropy_with_gradient_cuda, nullptr});
}

}  // namespace lockstep
