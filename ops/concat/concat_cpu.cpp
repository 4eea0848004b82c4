// CPU kernels of concatenation and of its gradient: the whole is `rows` rows, and each part is a
// strip of them that is copied row by row.
#include <algorithm>
#include <cstring>
#include <vector>

#include "ops/concat/concat.h"
#include "ops/cpu_kernel.h"

namespace lockstep {
namespace {

struct Strips {
  std::int64_t rows = 1;
  std::vector<std::size_t> bytes;  // of a row of each part
  std::size_t whole = 0;           // of a row of the whole

  Strips(std::span<const TensorType> parts, int axis) {
    for (const TensorType& part : parts) {
      const int at = axis < 0 ? axis + part.shape.rank() : axis;
      rows = part.shape.elements(0, at);
      bytes.push_back(static_cast<std::size_t>(part.shape.elements(at, part.shape.rank())) *
                      size_of(part.dtype));
      whole += bytes.back();
    }
  }
  // Rows that are worth a thread.
  std::int64_t grain() const {
    return std::max<std::int64_t>(
        1, 4 * kElementGrain / static_cast<std::int64_t>(std::max<std::size_t>(1, whole)));
  }
};

Kernel concat_cpu(const KernelRequest& request) {
  const Strips strips(request.inputs, request.op_as<ConcatOp>().axis());
  const int threads = cpu_threads(request);
  return {"concat_cpu", [=](const Launch& launch) {
            parallel_for(threads, strips.rows, strips.grain(),
                         [&](std::int64_t begin, std::int64_t end) {
                           auto* to = launch.output<std::byte>(0) + begin * strips.whole;
                           for (std::int64_t row = begin; row < end; ++row) {
                             for (std::size_t i = 0; i < strips.bytes.size(); ++i) {
                               const std::size_t bytes = strips.bytes[i];
                               if (bytes == 0) continue;  // the part may have no memory
                               const auto* from = launch.input<std::byte>(static_cast<int>(i));
                               std::memcpy(to, from + row * bytes, bytes);
                               to += bytes;
                             }
                           }
                         });
          }};
}

Kernel concat_backward_cpu(const KernelRequest& request) {
  const Strips strips(request.outputs, request.op_as<ConcatBackwardOp>().axis());
  const int threads = cpu_threads(request);
  return {"concat_backward_cpu", [=](const Launch& launch) {
            parallel_for(threads, strips.rows, strips.grain(),
                         [&](std::int64_t begin, std::int64_t end) {
                           const auto* from = launch.input<std::byte>(0) + begin * strips.whole;
                           for (std::int64_t row = begin; row < end; ++row) {
                             for (std::size_t i = 0; i < strips.bytes.size(); ++i) {
                               const std::size_t bytes = strips.bytes[i];
                               if (bytes == 0) continue;  // the part may have no memory
                               auto* to = launch.output<std::byte>(static_cast<int>(i));
                               std::memcpy(to + row * bytes, from, bytes);
                               from += bytes;
                             }
                           }
                         });
          }};
}

}  // namespace

void register_concat_cpu(KernelRegistry& registry) {
  registry.add("concat", DeviceKind::kCpu, {concat_cpu, nullptr});
  registry.add("concat_backward", DeviceKind::kCpu, {concat_backward_cpu, nullptr});
}

}  // namespace lockstep
