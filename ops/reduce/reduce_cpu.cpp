// CPU kernels of the reductions.
//
// The axes are merged into runs that are reduced or kept. The last run, or the last two, form a
// block that is reduced with vectors: a row (its elements are added up), or a matrix (its rows are
// added up). The other runs are loops: over results, and for each result over its blocks, whose
// sums are added in order.
#include <algorithm>
#include <vector>

#include "core/base/lanes.h"
#include "ops/broadcast_loops.h"
#include "ops/cpu_kernel.h"
#include "ops/reduce/column_sum_cpu.h"
#include "ops/reduce/reduce.h"

namespace lockstep {
namespace {

// Nested loops; the offset in x of iteration i.
struct Loops {
  struct Run {
    std::int64_t extent, stride;
  };
  std::vector<Run> runs;  // outermost first

  std::int64_t count() const {
    std::int64_t product = 1;
    for (const Run& run : runs) product *= run.extent;
    return product;
  }
  std::int64_t offset(std::int64_t i) const {
    std::int64_t at = 0;
    for (auto run = runs.rbegin(); run != runs.rend(); ++run) {
      at += i % run->extent * run->stride;
      i /= run->extent;
    }
    return at;
  }
};

struct Geometry {
  Loops results, blocks;               // outer loops
  std::int64_t rows = 1, columns = 1;  // of a block; columns are kept, rows are reduced
  bool empty = false;                  // no elements at all

  // By axis of x: whether it is reduced.
  Geometry(const Shape& shape, const std::vector<bool>& reduced) {
    empty = shape.elements() == 0;
    struct Axis {
      std::int64_t extent;
      bool reduced;
    };
    std::vector<Axis> merged;
    for (int axis = 0; axis < shape.rank(); ++axis) {
      if (shape[axis] == 1) continue;
      if (!merged.empty() && merged.back().reduced == reduced[axis]) {
        merged.back().extent *= shape[axis];
      } else {
        merged.push_back({shape[axis], reduced[axis]});
      }
    }
    if (!merged.empty() && !merged.back().reduced) {
      columns = merged.back().extent;
      merged.pop_back();
    }
    if (!merged.empty()) {
      rows = merged.back().extent;
      merged.pop_back();
    }
    std::int64_t stride = rows * columns;
    for (auto axis = merged.rbegin(); axis != merged.rend(); ++axis) {
      auto& runs = axis->reduced ? blocks.runs : results.runs;
      runs.insert(runs.begin(), {axis->extent, stride});
      stride *= axis->extent;
    }
  }
};

// ---- Sum and mean ------------------------------------------------------------------------------

// The sum of one block into `to` (columns).
template <typename T>
struct SumBlock {
  ColumnSum columns;
  std::int64_t rows, width;

  void operator()(const T* x, float* to, float* workspace) const {
    if (width == 1) {
      *to = sum_lanes(x, rows);
    } else {
      columns.run(x, to, workspace);
    }
  }
  static void combine(float* into, const float* with, std::int64_t n) {
#pragma omp simd
    for (std::int64_t j = 0; j < n; ++j) into[j] += with[j];
  }
  std::size_t workspace_floats() const {
    return columns.workspace_bytes() / sizeof(float);
  }
};

// ---- Maximum -----------------------------------------------------------------------------------

// The larger of two; NaN where one of them is.
struct MaxOrNanLanes {
  static constexpr float kIdentity = MaxLanes::kIdentity;
  template <typename V>
  [[gnu::always_inline]] static void combine(V& into, const V& with) {
    into = (into < with) | (with != with) ? with : into;
  }
};

// The same for single floats, in a form that g++ vectorises.
[[gnu::always_inline]] inline float larger(float a, float b) {
  const float numbers = a < b ? b : a;  // a where one is NaN
  return b != b ? b : numbers;
}

template <typename T>
struct MaxBlock {
  std::int64_t rows, width;

  void operator()(const T* x, float* to, float*) const {
    if (width == 1) {
      *to = reduce_lanes<MaxOrNanLanes>(
          0, rows, [x](std::int64_t i, Float8& v) { load(v, x + i); },
          [x](std::int64_t i) { return float(x[i]); });
      return;
    }
    for (std::int64_t j = 0; j < width; ++j) to[j] = float(x[j]);
    std::int64_t row = 1;
    for (; row + 8 <= rows; row += 8) {
      const T *r0 = x + row * width, *r1 = r0 + width, *r2 = r1 + width, *r3 = r2 + width;
      const T *r4 = r3 + width, *r5 = r4 + width, *r6 = r5 + width, *r7 = r6 + width;
#pragma omp simd
      for (std::int64_t j = 0; j < width; ++j) {
        const float a =
            larger(larger(float(r0[j]), float(r1[j])), larger(float(r2[j]), float(r3[j])));
        const float b =
            larger(larger(float(r4[j]), float(r5[j])), larger(float(r6[j]), float(r7[j])));
        to[j] = larger(to[j], larger(a, b));
      }
    }
    for (; row < rows; ++row) {
      const T* r = x + row * width;
#pragma omp simd
      for (std::int64_t j = 0; j < width; ++j) to[j] = larger(to[j], float(r[j]));
    }
  }
  static void combine(float* into, const float* with, std::int64_t n) {
    for (std::int64_t j = 0; j < n; ++j) MaxOrNanLanes::combine(into[j], with[j]);
  }
  std::size_t workspace_floats() const {
    return 0;
  }
};

// ---- The kernel --------------------------------------------------------------------------------

template <typename T, typename Block>
Kernel make_reduce(const std::string& name, const Geometry& geometry, const Block& block,
                   float scale, int threads) {
  const std::int64_t results = geometry.results.count(), blocks = geometry.blocks.count();
  const std::int64_t columns = geometry.columns;
  const std::int64_t work = results * blocks * geometry.rows * columns;
  const int pieces = static_cast<int>(
      std::min<std::int64_t>({threads, results, std::max<std::int64_t>(1, work / kElementGrain)}));
  // Of each thread: what the block wants, the sum so far, and the next block's.
  const std::size_t floats = block.workspace_floats() + 2 * static_cast<std::size_t>(columns);
  auto run_piece = [=](const T* x, T* y, float* workspace, std::int64_t begin, std::int64_t end) {
    float* sum = workspace + block.workspace_floats();
    float* next = sum + columns;
    for (std::int64_t i = begin; i < end; ++i) {
      const T* from = x + geometry.results.offset(i);
      block(from, sum, workspace);
      for (std::int64_t j = 1; j < blocks; ++j) {
        block(from + geometry.blocks.offset(j), next, workspace);
        Block::combine(sum, next, columns);
      }
#pragma omp simd
      for (std::int64_t j = 0; j < columns; ++j) y[i * columns + j] = sum[j] * scale;
    }
  };
  return {name,
          [=](const Launch& launch) {
            const T* x = launch.input<T>(0);
            T* y = launch.output<T>(0);
            auto* workspace = static_cast<float*>(launch.workspace);
            parallel_for(pieces, pieces, 1, [&](std::int64_t first, std::int64_t last) {
              for (std::int64_t piece = first; piece < last; ++piece) {
                run_piece(x, y, workspace + piece * floats, results * piece / pieces,
                          results * (piece + 1) / pieces);
              }
            });
          },
          static_cast<std::size_t>(pieces) * floats * sizeof(float)};
}

Kernel reduce_cpu(const KernelRequest& request) {
  const auto& op = request.op_as<ReduceOp>();
  const Shape& shape = request.inputs[0].shape;
  const std::string name = text(op.name(), "_cpu");
  const Geometry geometry(shape, op.reduced(shape));
  const std::int64_t results = request.outputs[0].elements();
  const int threads = cpu_threads(request);
  const double mean = static_cast<double>(results) / static_cast<double>(shape.elements());
  const float scale = op.kind() == ReduceKind::kMean ? static_cast<float>(mean) : 1.0f;
  return for_floating(request, request.inputs[0].dtype, [&](auto element) -> Kernel {
    using T = decltype(element);
    if (geometry.empty) {  // sums over nothing
      return {name + " (empty)", [results](const Launch& launch) {
                std::fill_n(launch.output<T>(0), results, T(0.0f));
              }};
    }
    if (op.kind() == ReduceKind::kMax) {
      const MaxBlock<T> block{geometry.rows, geometry.columns};
      return make_reduce<T>(name, geometry, block, 1.0f, threads);
    }
    // One result block: the threads share its rows; several: they share the results.
    const int block_threads = geometry.results.count() == 1 ? threads : 1;
    const SumBlock<T> block{ColumnSum(geometry.rows, geometry.columns, block_threads),
                            geometry.rows, geometry.columns};
    return make_reduce<T>(name, geometry, block, scale, threads);
  });
}

// ---- Gradients ---------------------------------------------------------------------------------

Kernel sum_backward_cpu(const KernelRequest& request) {
  const auto scale = static_cast<float>(request.op_as<SumBackwardOp>().scale());
  const Shape& shape = request.outputs[0].shape;
  const BroadcastLoops loops(request.inputs[0].shape, shape, shape);
  const int threads = cpu_threads(request);
  const std::int64_t n = loops.inner(), rows = loops.outer();
  const bool repeats = loops.a_stride[loops.rank - 1] == 0;
  Loops from;  // where the rows of dx begin in dy
  for (int i = 0; i + 1 < loops.rank; ++i)
    from.runs.push_back({loops.extent[i], loops.a_stride[i]});
  const std::int64_t grain =
      std::max<std::int64_t>(1, kElementGrain / std::max<std::int64_t>(1, n));
  return for_floating(request, request.outputs[0].dtype, [&](auto element) -> Kernel {
    using T = decltype(element);
    return {"reduce_sum_backward_cpu", [=](const Launch& launch) {
              const T* dy = launch.input<T>(0);
              T* dx = launch.output<T>(0);
              parallel_for(threads, rows, grain, [&](std::int64_t begin, std::int64_t end) {
                for (std::int64_t i = begin; i < end; ++i) {
                  const T* row = dy + from.offset(i);
                  T* to = dx + i * n;
                  if (repeats) {
                    std::fill_n(to, n, T(scale * float(*row)));
                    continue;
                  }
#pragma omp simd
                  for (std::int64_t j = 0; j < n; ++j) to[j] = scale * float(row[j]);
                }
              });
            }};
  });
}

// Which axes of x were reduced: those that have extent 1 in y. (Axes of extent 1 in both do not
// matter.)
std::vector<bool> reduced_axes(const Shape& x, const Shape& y) {
  std::vector<bool> out;
  for (int axis = 0; axis < x.rank(); ++axis) out.push_back(y[axis] == 1 && x[axis] != 1);
  return out;
}

// One result after another: first counts the elements that attain the maximum, then shares dy among
// them.
template <typename T>
void max_backward(const Geometry& g, const T* dy, const T* y, const T* x, T* dx, std::int64_t begin,
                  std::int64_t end, float* count) {
  const std::int64_t blocks = g.blocks.count();
  for (std::int64_t i = begin; i < end; ++i) {
    const std::int64_t first = g.results.offset(i), result = i * g.columns;
    auto for_rows = [&](const auto& body) {
      for (std::int64_t block = 0; block < blocks; ++block) {
        const std::int64_t at = first + g.blocks.offset(block);
        for (std::int64_t row = 0; row < g.rows; ++row) body(at + row * g.columns);
      }
    };
    std::fill_n(count, g.columns, 0.0f);
    for_rows([&](std::int64_t at) {
#pragma omp simd
      for (std::int64_t j = 0; j < g.columns; ++j) {
        count[j] += float(x[at + j]) == float(y[result + j]) ? 1.0f : 0.0f;
      }
    });
    for_rows([&](std::int64_t at) {
#pragma omp simd
      for (std::int64_t j = 0; j < g.columns; ++j) {
        const float share = float(dy[result + j]) / count[j];
        dx[at + j] = float(x[at + j]) == float(y[result + j]) ? share : 0.0f;
      }
    });
  }
}

Kernel max_backward_cpu(const KernelRequest& request) {
  const Shape &x = request.inputs[2].shape, &y = request.inputs[1].shape;
  const Geometry geometry(x, reduced_axes(x, y));
  const std::int64_t results = geometry.results.count();
  const int pieces = static_cast<int>(
      std::min<std::int64_t>({cpu_threads(request), std::max<std::int64_t>(1, results),
                              std::max<std::int64_t>(1, x.elements() / kElementGrain)}));
  return for_floating(request, request.outputs[0].dtype, [&](auto element) -> Kernel {
    using T = decltype(element);
    if (geometry.empty) return {"reduce_max_backward_cpu (empty)", [](const Launch&) {}};
    return {"reduce_max_backward_cpu",
            [=](const Launch& launch) {
              const T *dy = launch.input<T>(0), *y = launch.input<T>(1), *x = launch.input<T>(2);
              T* dx = launch.output<T>(0);
              auto* counts = static_cast<float*>(launch.workspace);
              parallel_for(pieces, pieces, 1, [&](std::int64_t first, std::int64_t last) {
                for (std::int64_t piece = first; piece < last; ++piece) {
                  max_backward(geometry, dy, y, x, dx, results * piece / pieces,
                               results * (piece + 1) / pieces, counts + piece * geometry.columns);
                }
              });
            },
            static_cast<std::size_t>(pieces * geometry.columns) * sizeof(float)};
  });
}

}  // namespace

void register_reduce_cpu(KernelRegistry& registry) {
  for (const char* name : {"reduce_sum", "reduce_mean", "reduce_max"}) {
    registry.add(name, DeviceKind::kCpu, {reduce_cpu, nullptr});
  }
  registry.add("reduce_sum_backward", DeviceKind::kCpu, {sum_backward_cpu, nullptr});
  registry.add("reduce_max_backward", DeviceKind::kCpu, {max_backward_cpu, nullptr});
}

}  // namespace lockstep
