// CPU kernel of from_bytes: a table of the 256 values for each feature, which stays in the first cache.
#include <array>
#include <vector>

#include "ops/cpu_kernel.h"
#include "ops/from_bytes/from_bytes.h"

namespace lockstep {
namespace {

template <typename T>
using Table = std::array<T, 256>;

template <typename T>
Kernel make_from_bytes(const KernelRequest& request) {
  const auto& op = request.op_as<FromBytesOp>();
  std::vector<Table<T>> tables(op.features());
  for (std::size_t f = 0; f < tables.size(); ++f) {
    for (int byte = 0; byte < 256; ++byte) {
      tables[f][static_cast<std::size_t>(byte)] = T(op.value(f, static_cast<std::uint8_t>(byte)));
    }
  }
  const auto features = static_cast<std::int64_t>(op.features());
  const std::int64_t rows = request.inputs[0].elements() / features;
  const int threads = cpu_threads(request);
  auto run = [=](const Launch& launch) {
    const std::uint8_t* x = launch.input<std::uint8_t>(0);
    T* y = launch.output<T>(0);
    parallel_for(threads, rows, kElementGrain, [&](std::int64_t begin, std::int64_t end) {
      if (features == 1) {
        const Table<T>& table = tables[0];
        for (std::int64_t i = begin; i < end; ++i) y[i] = table[x[i]];
        return;
      }
      for (std::int64_t row = begin; row < end; ++row) {
        for (std::int64_t f = 0; f < features; ++f) {
          y[row * features + f] = tables[static_cast<std::size_t>(f)][x[row * features + f]];
        }
      }
    });
  };
  return {"from_bytes_cpu", run};
}

Kernel from_bytes_cpu(const KernelRequest& request) {
  return for_floating(request, request.outputs[0].dtype,
                      [&](auto element) { return make_from_bytes<decltype(element)>(request); });
}

}  // namespace

void register_from_bytes_cpu(KernelRegistry& registry) {
  registry.add("from_bytes", DeviceKind::kCpu, {from_bytes_cpu, nullptr});
}

}  // namespace lockstep
