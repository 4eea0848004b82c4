// CUDA kernels of the activations: one pass over memory, forward and backward.
#include "core/kernel/cuda_elementwise.h"
#include "ops/activation/activation_cuda.h"

namespace lockstep {
namespace {

template <typename Function>
struct BackwardOf {
  Function function;
  __device__ float operator()(float dy, float saved) const { return function.backward(dy, saved); }
};

Kernel activation_cuda(const KernelRequest& request) {
  const Activation& activation = request.op_as<ActivationOp>().activation();
  const std::int64_t count = request.outputs[0].elements();
  return for_cuda_floating(request, request.outputs[0].dtype, [&]<typename T>(T) {
    return cuda_activation::with_function(activation, [&](auto function) -> Kernel {
      return {text(activation.name(), "_cuda"), [=](const Launch& on) {
                launch_elementwise(on, count, on.output<T>(0), function, Full<T>{on.input<T>(0)});
              }};
    });
  });
}

Kernel activation_backward_cuda(const KernelRequest& request) {
  const Activation& activation = request.op_as<ActivationBackwardOp>().activation();
  const std::int64_t count = request.outputs[0].elements();
  return for_cuda_floating(request, request.outputs[0].dtype, [&]<typename T>(T) {
    return cuda_activation::with_function(activation, [&](auto function) -> Kernel {
      const BackwardOf<decltype(function)> backward{function};
      return {text(activation.name(), "_backward_cuda"), [=](const Launch& on) {
                launch_elementwise(on, count, on.output<T>(0), backward, Full<T>{on.input<T>(0)},
                                   Full<T>{on.input<T>(1)});
              }};
    });
  });
}

}  // namespace

void register_activation_cuda(KernelRegistry& registry) {
  for (const char* name : {"relu", "leaky_relu", "sigmoid", "tanh", "gelu"}) {
    registry.add(name, DeviceKind::kCuda, {activation_cuda, nullptr});
    registry.add(text(name, "_backward"), DeviceKind::kCuda, {activation_backward_cuda, nullptr});
  }
}

}  // namespace lockstep
