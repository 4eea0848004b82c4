// CPU kernels of the embedding. Forward: threads share the ids. Backward: each thread owns a range
// of the table's rows and goes over all ids in order, so the sums do not depend on the number of
// threads.
#include <algorithm>
#include <limits>

#include "ops/cpu_kernel.h"
#include "ops/embedding/embedding.h"

namespace lockstep {
namespace {

Kernel embedding_cpu(const KernelRequest& request) {
  const std::int64_t vocabulary = request.inputs[0].shape[0], dim = request.inputs[0].shape[1];
  const std::int64_t count = request.inputs[1].elements();
  const std::int64_t grain =
      std::max<std::int64_t>(1, kElementGrain / std::max<std::int64_t>(1, dim));
  const int threads = cpu_threads(request);
  return {"embedding_cpu", [=](const Launch& launch) {
            const float* table = launch.input<float>(0);
            const auto* ids = launch.input<std::int32_t>(1);
            float* y = launch.output<float>(0);
            parallel_for(threads, count, grain, [=](std::int64_t begin, std::int64_t end) {
              for (std::int64_t i = begin; i < end; ++i) {
                const std::int64_t id = ids[i];
                if (id >= 0 && id < vocabulary) {
                  std::copy_n(table + id * dim, dim, y + i * dim);
                } else {
                  std::fill_n(y + i * dim, dim, std::numeric_limits<float>::quiet_NaN());
                }
              }
            });
          }};
}

Kernel embedding_backward_cpu(const KernelRequest& request) {
  const std::int64_t vocabulary = request.op_as<EmbeddingBackwardOp>().vocabulary();
  const std::int64_t dim = request.outputs[0].shape[1], count = request.inputs[1].elements();
  const std::int64_t grain =
      std::max<std::int64_t>(1, kElementGrain / std::max<std::int64_t>(1, dim));
  const int threads = cpu_threads(request);
  return {"embedding_backward_cpu", [=](const Launch& launch) {
            const float* dy = launch.input<float>(0);
            const auto* ids = launch.input<std::int32_t>(1);
            float* sums = launch.output<float>(0);
            parallel_for(threads, vocabulary, grain, [=](std::int64_t begin, std::int64_t end) {
              std::fill(sums + begin * dim, sums + end * dim, 0.0f);
              for (std::int64_t i = 0; i < count; ++i) {
                const std::int64_t id = ids[i];
                if (id < begin || id >= end) continue;
                const float* from = dy + i * dim;
                float* to = sums + id * dim;
#pragma omp simd
                for (std::int64_t j = 0; j < dim; ++j) to[j] += from[j];
              }
            });
          }};
}

}  // namespace

void register_embedding_cpu(KernelRegistry& registry) {
  registry.add("embedding", DeviceKind::kCpu, {embedding_cpu, nullptr});
  registry.add("embedding_backward", DeviceKind::kCpu, {embedding_backward_cpu, nullptr});
}

}  // namespace lockstep
