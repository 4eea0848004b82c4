// CPU kernels of the activations: one vectorised pass over memory, forward and backward.
#include "ops/activation/activation_math.h"
#include "ops/cpu_kernel.h"

namespace lockstep {
namespace {

template <typename T, typename Function>
Kernel make_forward(const std::string& name, Function function, std::int64_t count, int threads) {
  return {name, [=](const Launch& launch) {
            const T* x = launch.input<T>(0);
            T* y = launch.output<T>(0);
            parallel_for(threads, count, kElementGrain, [=](std::int64_t begin, std::int64_t end) {
#pragma omp simd
              for (std::int64_t i = begin; i < end; ++i) y[i] = function(float(x[i]));
            });
          }};
}

template <typename T, typename Function>
Kernel make_backward(const std::string& name, Function function, std::int64_t count, int threads) {
  return {name, [=](const Launch& launch) {
            const T* dy = launch.input<T>(0);
            const T* saved = launch.input<T>(1);
            T* dx = launch.output<T>(0);
            parallel_for(threads, count, kElementGrain, [=](std::int64_t begin, std::int64_t end) {
#pragma omp simd
              for (std::int64_t i = begin; i < end; ++i) {
                dx[i] = function.backward(float(dy[i]), float(saved[i]));
              }
            });
          }};
}

Kernel activation_cpu(const KernelRequest& request) {
  const Activation& activation = request.op_as<ActivationOp>().activation();
  const std::string name = text(activation.name(), "_cpu");
  const std::int64_t count = request.outputs[0].elements();
  const int threads = cpu_threads(request);
  return for_floating(request, request.outputs[0].dtype, [&](auto element) {
    return activation_math::with_function(activation, [&](auto function) {
      return make_forward<decltype(element)>(name, function, count, threads);
    });
  });
}

Kernel activation_backward_cpu(const KernelRequest& request) {
  const Activation& activation = request.op_as<ActivationBackwardOp>().activation();
  const std::string name = text(activation.name(), "_backward_cpu");
  const std::int64_t count = request.outputs[0].elements();
  const int threads = cpu_threads(request);
  return for_floating(request, request.outputs[0].dtype, [&](auto element) {
    return activation_math::with_function(activation, [&](auto function) {
      return make_backward<decltype(element)>(name, function, count, threads);
    });
  });
}

}  // namespace

void register_activation_cpu(KernelRegistry& registry) {
  for (const char* name : {"relu", "leaky_relu", "sigmoid", "tanh", "gelu"}) {
    registry.add(name, DeviceKind::kCpu, {activation_cpu, nullptr});
    registry.add(text(name, "_backward"), DeviceKind::kCpu, {activation_backward_cpu, nullptr});
  }
}

}  // namespace lockstep
