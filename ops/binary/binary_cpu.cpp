// CPU kernels of the binary ops: vectorised rows, with loops over them where an input is repeated.
#include <algorithm>
#include <array>

#include "ops/binary/binary_math.h"
#include "ops/broadcast_loops.h"
#include "ops/cpu_kernel.h"

namespace lockstep {
namespace {

constexpr std::int64_t kTile =
    512;  // elements of a short vector that is written down several times

// One row: both inputs go on, or one of them stays at its first element.
enum class RowKind { kBoth, kFirstStays, kSecondStays };

template <typename T, typename Function, RowKind kRow>
void run_row(const T* a, const T* b, T* y, std::int64_t n) {
  const Function function;
  if constexpr (kRow == RowKind::kBoth) {
#pragma omp simd
    for (std::int64_t i = 0; i < n; ++i) y[i] = function(float(a[i]), float(b[i]));
  } else if constexpr (kRow == RowKind::kFirstStays) {
    const float first = float(*a);
#pragma omp simd
    for (std::int64_t i = 0; i < n; ++i) y[i] = function(first, float(b[i]));
  } else {
    const float second = float(*b);
#pragma omp simd
    for (std::int64_t i = 0; i < n; ++i) y[i] = function(float(a[i]), second);
  }
}

template <typename T>
using Row = void (*)(const T* a, const T* b, T* y, std::int64_t n);

template <typename T, typename Function>
Row<T> row_of(const BroadcastLoops& loops) {
  if (loops.a_stride[loops.rank - 1] == 0) return run_row<T, Function, RowKind::kFirstStays>;
  if (loops.b_stride[loops.rank - 1] == 0) return run_row<T, Function, RowKind::kSecondStays>;
  return run_row<T, Function, RowKind::kBoth>;
}

// One loop: pieces of it to each thread.
template <typename T>
Kernel make_flat(const std::string& name, Row<T> row, const BroadcastLoops& loops, int threads) {
  const std::int64_t count = loops.extent[0];
  const std::int64_t a_step = loops.a_stride[0], b_step = loops.b_stride[0];
  return {name, [=](const Launch& launch) {
            const T *a = launch.input<T>(0), *b = launch.input<T>(1);
            T* y = launch.output<T>(0);
            parallel_for(threads, count, kElementGrain, [=](std::int64_t begin, std::int64_t end) {
              row(a + begin * a_step, b + begin * b_step, y + begin, end - begin);
            });
          }};
}

// Rows of both inputs, in the order of the result, from row `begin` to `end`.
template <typename T>
void run_rows(const BroadcastLoops& loops, Row<T> row, const T* a, const T* b, T* y,
              std::int64_t begin, std::int64_t end) {
  const std::int64_t n = loops.inner();
  const int last = loops.rank - 2;
  std::array<std::int64_t, Shape::kMaxRank> at{};
  for (std::int64_t rest = begin, axis = last; axis >= 0; --axis) {
    at[axis] = rest % loops.extent[axis];
    rest /= loops.extent[axis];
    a += at[axis] * loops.a_stride[axis];
    b += at[axis] * loops.b_stride[axis];
  }
  for (std::int64_t i = begin; i < end; ++i) {
    row(a, b, y + i * n, n);
    for (int axis = last; axis >= 0; --axis) {
      a += loops.a_stride[axis];
      b += loops.b_stride[axis];
      if (++at[axis] < loops.extent[axis]) break;
      at[axis] = 0;
      a -= loops.extent[axis] * loops.a_stride[axis];
      b -= loops.extent[axis] * loops.b_stride[axis];
    }
  }
}

template <typename T>
Kernel make_rows(const std::string& name, Row<T> row, const BroadcastLoops& loops, int threads) {
  const std::int64_t rows = loops.outer();
  const std::int64_t grain =
      std::max<std::int64_t>(1, kElementGrain / std::max<std::int64_t>(1, loops.inner()));
  return {name, [=](const Launch& launch) {
            const T *a = launch.input<T>(0), *b = launch.input<T>(1);
            T* y = launch.output<T>(0);
            parallel_for(threads, rows, grain, [=](std::int64_t begin, std::int64_t end) {
              run_rows(loops, row, a, b, y, begin, end);
            });
          }};
}

// Two loops with a short vector repeated in the outer: the vector is written down several times, so
// that the rows become long.
template <typename T>
Kernel make_tiled(const std::string& name, Row<T> row, const BroadcastLoops& loops, int threads) {
  const std::int64_t rows = loops.extent[0], n = loops.extent[1], times = kTile / n;
  const bool first_repeats = loops.a_stride[0] == 0;
  const std::int64_t grain = std::max<std::int64_t>(1, kElementGrain / n);
  return {name, [=](const Launch& launch) {
            const T *a = launch.input<T>(0), *b = launch.input<T>(1);
            T* y = launch.output<T>(0);
            parallel_for(threads, rows, grain, [=](std::int64_t begin, std::int64_t end) {
              std::array<T, kTile> tile;
              std::copy_n(first_repeats ? a : b, n, tile.data());
              repeat_front(tile.data(), n, times);
              for (std::int64_t i = begin; i < end; i += times) {
                const std::int64_t width = std::min(times, end - i) * n;
                row(first_repeats ? tile.data() : a + i * n,
                    first_repeats ? b + i * n : tile.data(), y + i * n, width);
              }
            });
          }};
}

bool worth_tiling(const BroadcastLoops& loops) {
  if (loops.rank != 2) return false;
  const std::int64_t n = loops.extent[1];
  return loops.a_stride[1] == 1 && loops.b_stride[1] == 1 && n > 0 && n <= kTile / 4 &&
         loops.extent[0] >= 2 * (kTile / n);
}

Kernel binary_cpu(const KernelRequest& request) {
  const auto& op = request.op_as<BinaryOp>();
  const BroadcastLoops loops(request.inputs[0].shape, request.inputs[1].shape,
                             request.outputs[0].shape);
  const int threads = cpu_threads(request);
  const std::string name = text(op.name(), "_cpu");
  return for_floating(request, request.outputs[0].dtype, [&](auto element) {
    return binary_math::with_function(op.kind(), [&](auto function) {
      using T = decltype(element);
      const Row<T> row = row_of<T, decltype(function)>(loops);
      if (loops.rank == 1) return make_flat<T>(name, row, loops, threads);
      if (worth_tiling(loops)) return make_tiled<T>(name, row, loops, threads);
      return make_rows<T>(name, row, loops, threads);
    });
  });
}

Kernel scale_cpu(const KernelRequest& request) {
  const auto factor = static_cast<float>(request.op_as<ScaleOp>().factor());
  const std::int64_t count = request.outputs[0].elements();
  const int threads = cpu_threads(request);
  return for_floating(request, request.outputs[0].dtype, [&](auto element) -> Kernel {
    using T = decltype(element);
    return {"scale_cpu", [=](const Launch& launch) {
              const T* x = launch.input<T>(0);
              T* y = launch.output<T>(0);
              parallel_for(threads, count, kElementGrain,
                           [=](std::int64_t begin, std::int64_t end) {
#pragma omp simd
                             for (std::int64_t i = begin; i < end; ++i) {
                               y[i] = factor * float(x[i]);
                             }
                           });
            }};
  });
}

}  // namespace

void register_binary_cpu(KernelRegistry& registry) {
  for (const char* name : {"add", "subtract", "multiply", "divide"}) {
    registry.add(name, DeviceKind::kCpu, {binary_cpu, nullptr});
  }
  registry.add("scale", DeviceKind::kCpu, {scale_cpu, nullptr});
}

}  // namespace lockstep
