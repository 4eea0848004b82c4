// CUDA kernels of the bias: one pass over memory each.
#include "core/kernel/cuda_elementwise.h"
#include "ops/bias/bias.h"
#include "ops/binary/binary_cuda.h"
#include "ops/reduce/column_sum_cuda.h"

namespace lockstep {
namespace {

Kernel bias_cuda(const KernelRequest& request) {
  const std::int64_t count = request.outputs[0].elements();
  const Repeated<float> repeated_bias = repeated<float>(nullptr, 1, request.inputs[0].shape[-1], count);
  return for_cuda_floating(request, request.inputs[0].dtype, [&]<typename T>(T) -> Kernel {
    return {"bias_cuda", [=](const Launch& on) {
              launch_elementwise(on, count, on.output<T>(0), cuda_binary::Add{}, Full<T>{on.input<T>(0)},
                                 repeated_bias.of(on.input<float>(1)));
            }};
  });
}

Kernel bias_backward_cuda(const KernelRequest& request) {
  const Shape& shape = request.inputs[0].shape;
  const std::int64_t rows = shape.elements(0, shape.rank() - 1), columns = shape[-1];
  return for_cuda_floating(request, request.inputs[0].dtype, [&]<typename T>(T) -> Kernel {
    const ColumnSum sum(1, rows, columns, MatrixValues<T>::kWidest);
    return {"bias_backward_cuda",
            [=](const Launch& on) {
              launch_column_sum<1>(on, sum, on.workspace, MatrixValues<T>{on.input<T>(0), columns},
                                   StoreSum<float>{on.output<float>(0)});
            },
            sum.workspace_bytes(1)};
  });
}

}  // namespace

void register_bias_cuda(KernelRegistry& registry) {
  registry.add("bias", DeviceKind::kCuda, {bias_cuda, nullptr});
  registry.add("bias_backward", DeviceKind::kCuda, {bias_backward_cuda, nullptr});
}

}  // namespace lockstep
