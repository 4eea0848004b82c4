// CPU kernel of the loss with its gradient: one exponential of each logit serves both.
#include <type_traits>
#include <vector>

#include "ops/losses/cross_entropy_with_gradient.h"
#include "ops/losses/softmax_cross_entropy_cpu.h"

namespace lockstep {
namespace {

using namespace cross_entropy;  // NOLINT: its file is written for this one and for softmax_cross_entropy_cpu.cpp

// A row of logits as f32: itself, or converted.
const float* row_of(const float* x, std::int64_t, float*) { return x; }
const float* row_of(const BFloat16* x, std::int64_t count, float* to) {
  for (std::int64_t k = 0; k < count; ++k) to[k] = float(x[k]);
  return to;
}
// Where its gradient is computed, and how it comes to where it belongs.
float* gradient_of(float* dx, float*) { return dx; }
float* gradient_of(BFloat16*, float* memory) { return memory; }
void store(float*, const float*, std::int64_t) {}
void store(BFloat16* dx, const float* gradient, std::int64_t count) {
  for (std::int64_t k = 0; k < count; ++k) dx[k] = BFloat16(gradient[k]);
}

template <typename T>
Kernel make_kernel(const KernelRequest& request) {
  const Rows shape = rows_of(request, request.inputs.size(), request.op_as<CrossEntropyWithGradientOp>().loss());
  auto run = [=](const Launch& launch) {
    const T* x = launch.input<T>(0);
    T* dx = launch.output<T>(1);
    float* losses = static_cast<float*>(launch.workspace);
    for_rows(launch, shape, [&](std::int64_t row, const auto& target) {
      thread_local std::vector<float> memory;
      if constexpr (!std::is_same_v<T, float>) memory.resize(static_cast<std::size_t>(2 * shape.classes));
      const std::int64_t first = row * shape.classes;
      const float* logits = row_of(x + first, shape.classes, memory.data());
      float* gradient = gradient_of(dx + first, memory.data() + shape.classes);
      const RowSums sums = exponentials_of(logits, shape, gradient);
      losses[row] = target.loss(logits, sums, shape);
      target.gradient(sums, static_cast<float>(shape.scale * weight_of(launch, shape, row)), shape, gradient);
      store(dx + first, gradient, shape.classes);
    });
    *launch.output<float>(0) = loss_of(launch, shape, losses);
  };
  return {"softmax_cross_entropy_with_gradient_cpu", run, shape.rows * sizeof(float)};
}

Kernel cross_entropy_with_gradient_cpu(const KernelRequest& request) {
  return for_floating(request, request.inputs[0].dtype,
                      [&](auto element) { return make_kernel<decltype(element)>(request); });
}

}  // namespace

void register_cross_entropy_with_gradient_cpu(KernelRegistry& registry) {
  registry.add("softmax_cross_entropy_with_gradient", DeviceKind::kCpu, {cross_entropy_with_gradient_cpu, nullptr});
}

}  // namespace lockstep
