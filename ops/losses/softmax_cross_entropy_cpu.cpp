// CPU kernels of softmax_cross_entropy.
#include "ops/losses/loss.h"
#include "ops/losses/softmax_cross_entropy_cpu.h"

namespace lockstep {
namespace {

using namespace cross_entropy;  // NOLINT: its file is written for this one and for cross_entropy_with_gradient_cpu.cpp

Kernel softmax_cross_entropy_cpu(const KernelRequest& request) {
  const Rows shape = rows_of(request, request.inputs.size(), request.op_as<SoftmaxCrossEntropyOp>());
  auto run = [=](const Launch& launch) {
    const float* x = launch.input<float>(0);
    float* losses = static_cast<float*>(launch.workspace);
    for_rows(launch, shape, [&](std::int64_t row, const auto& target) {
      const float* logits = x + row * shape.classes;
      losses[row] = target.loss(logits, sums_of(logits, shape), shape);
    });
    *launch.output<float>(0) = loss_of(launch, shape, losses);
  };
  return {"softmax_cross_entropy_cpu", run, shape.rows * sizeof(float)};
}

Kernel softmax_cross_entropy_backward_cpu(const KernelRequest& request) {
  const Rows shape =
      rows_of(request, request.inputs.size() - 1, request.op_as<SoftmaxCrossEntropyBackwardOp>().loss());
  const int cotangent_input = static_cast<int>(request.inputs.size()) - 1;
  auto run = [=](const Launch& launch) {
    const float* x = launch.input<float>(0);
    float* dx = launch.output<float>(0);
    const double scale = shape.scale * *launch.input<float>(cotangent_input);
    for_rows(launch, shape, [&](std::int64_t row, const auto& target) {
      float* gradient = dx + row * shape.classes;
      const RowSums sums = exponentials_of(x + row * shape.classes, shape, gradient);
      target.gradient(sums, static_cast<float>(scale * weight_of(launch, shape, row)), shape, gradient);
    });
  };
  return {"softmax_cross_entropy_backward_cpu", run};
}

}  // namespace

void register_softmax_cross_entropy_cpu(KernelRegistry& registry) {
  registry.add("softmax_cross_entropy", DeviceKind::kCpu, {softmax_cross_entropy_cpu, nullptr});
  registry.add("softmax_cross_entropy_backward", DeviceKind::kCpu,
               {softmax_cross_entropy_backward_cpu, nullptr});
}

}  // namespace lockstep
