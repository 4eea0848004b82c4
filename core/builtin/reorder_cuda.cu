// CUDA kernel of reorder: a transposition, or a copy where the orders are equal.
#include "core/builtin/reorder.h"
#include "core/builtin/transposed_layout.h"
#include "core/kernel/cuda_transpose.h"

namespace lockstep {
namespace {

Kernel copy_kernel(std::size_t bytes) {
  return {"reorder_cuda (copy)", [bytes](const Launch& on) {
            if (bytes == 0) return;
            check_cuda(cudaMemcpyAsync(on.outputs[0], on.inputs[0], bytes, cudaMemcpyDeviceToDevice,
                                       static_cast<cudaStream_t>(on.stream)),
                       "cudaMemcpyAsync");
          }};
}

// T: any type of the elements' size.
template <typename T>
Kernel transpose_kernel(std::int64_t rows, std::int64_t columns) {
  return {"reorder_cuda", [=](const Launch& on) {
            launch_transpose(on, on.input<T>(0), on.output<T>(0), rows, columns);
          }};
}

Kernel reorder_cuda(const KernelRequest& request) {
  const TensorType &from = request.inputs[0], &to = request.outputs[0];
  require(same_layout(to.layout, request.op_as<ReorderOp>().to()), "reorder: the output is ", to.to_string(),
          ", not in the layout that was asked for");
  if (same_layout(from.layout, to.layout) || from.elements() == 0) return copy_kernel(to.bytes());
  const TensorType& known = from.layout ? from : to;
  require(is_transposed(known) && (!from.layout || !to.layout), "reorder: no kernel from ", from.to_string(), " to ",
          to.to_string());
  const std::int64_t last = from.shape[-1], others = from.elements() / last;
  const std::int64_t rows = to.layout ? others : last, columns = to.layout ? last : others;
  switch (size_of(from.dtype)) {
    case 2:
      return transpose_kernel<std::uint16_t>(rows, columns);
    case 4:
      return transpose_kernel<std::uint32_t>(rows, columns);
    default:
      bad_input("reorder: no kernel for ", from.to_string());
  }
}

}  // namespace

void register_reorder_cuda(KernelRegistry& registry) {
  registry.add("reorder", DeviceKind::kCuda, {reorder_cuda, nullptr});
}

}  // namespace lockstep
