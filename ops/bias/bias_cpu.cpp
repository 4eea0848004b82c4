// CPU kernels of the bias: one pass over memory each.
#include <algorithm>
#include <array>

#include "ops/bias/bias.h"
#include "ops/cpu_kernel.h"
#include "ops/reduce/column_sum_cpu.h"

namespace lockstep {
namespace {

constexpr std::int64_t kTile = 512;  // floats of a repeated bias

template <typename T>
void add_rows(const T* x, const float* b, T* y, std::int64_t rows, std::int64_t columns) {
  for (std::int64_t row = 0; row < rows; ++row) {
#pragma omp simd
    for (std::int64_t j = 0; j < columns; ++j) y[j] = float(x[j]) + b[j];
    x += columns;
    y += columns;
  }
}

// Short rows spend their time at loop ends; a bias that is written down several times makes them
// long.
template <typename T>
void add_narrow_rows(const T* x, const float* b, T* y, std::int64_t rows, std::int64_t columns) {
  std::array<float, kTile> tile;
  const std::int64_t times = kTile / columns;
  std::copy_n(b, columns, tile.data());
  repeat_front(tile.data(), columns, times);
  const std::int64_t tiled_rows = rows / times * times;
  add_rows(x, tile.data(), y, rows / times, times * columns);
  const std::int64_t done = tiled_rows * columns;
  add_rows(x + done, tile.data(), y + done, 1, (rows - tiled_rows) * columns);
}

template <typename T>
Kernel make_bias(std::int64_t rows, std::int64_t columns, int threads) {
  const std::int64_t grain =
      std::max<std::int64_t>(1, kElementGrain / std::max<std::int64_t>(1, columns));
  const bool narrow = columns > 0 && columns <= kTile / 4 && rows >= 2 * (kTile / columns);
  const auto kernel = narrow ? add_narrow_rows<T> : add_rows<T>;
  return {"bias_cpu", [=](const Launch& launch) {
            const T* x = launch.input<T>(0);
            const float* b = launch.input<float>(1);
            T* y = launch.output<T>(0);
            parallel_for(threads, rows, grain, [=](std::int64_t begin, std::int64_t end) {
              kernel(x + begin * columns, b, y + begin * columns, end - begin, columns);
            });
          }};
}

// Rows of a tensor seen as a matrix (rows, last axis).
std::int64_t rows_of(const TensorType& type) {
  return type.shape.elements(0, type.shape.rank() - 1);
}

Kernel bias_cpu(const KernelRequest& request) {
  const TensorType& x = request.inputs[0];
  return for_floating(request, x.dtype, [&](auto element) {
    return make_bias<decltype(element)>(rows_of(x), x.shape[-1], cpu_threads(request));
  });
}

Kernel bias_backward_cpu(const KernelRequest& request) {
  const TensorType& dy = request.inputs[0];
  const ColumnSum sum(rows_of(dy), dy.shape[-1], cpu_threads(request));
  return for_floating(request, dy.dtype, [&](auto element) -> Kernel {
    using T = decltype(element);
    return {"bias_backward_cpu",
            [sum](const Launch& launch) {
              sum.run(launch.input<T>(0), launch.output<float>(0),
                      static_cast<float*>(launch.workspace));
            },
            sum.workspace_bytes()};
  });
}

}  // namespace

void register_bias_cpu(KernelRegistry& registry) {
  registry.add("bias", DeviceKind::kCpu, {bias_cpu, nullptr});
  registry.add("bias_backward", DeviceKind::kCpu, {bias_backward_cpu, nullptr});
}

}  // namespace lockstep
