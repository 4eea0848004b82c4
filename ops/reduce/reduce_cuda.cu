// CUDA kernels of the reductions.
//
// The axes are merged into runs that are reduced or kept. The runs that are reduced go one after another, from the last one
// on, each by one of two kernels: along rows (elements that lie next to each other, by a group of threads) or along columns
// (column_sum_cuda.h). What is left after each is an f32 tensor in the workspace, the last one the output. Long rows are cut
// into pieces, which makes one step more.
//
// All orders depend on the extents alone.
#include <functional>
#include <vector>

#include "core/kernel/cuda_rows.h"
#include "ops/broadcast_cuda.h"
#include "ops/reduce/column_sum_cuda.h"
#include "ops/reduce/reduce.h"

namespace lockstep {
namespace {

constexpr int kMostThreads = 512;
constexpr int kInFlight = 4;  // packs of a thread

// NaN wins.
struct Larger {
  static constexpr float kIdentity = -INFINITY;
  __device__ static float combine(float a, float b) { return larger_of(a, b); }
};

// ---- Rows ----------------------------------------------------------------------------------------

// How rows are cut.
struct RowCut {
  std::int64_t rows, length;
  int pack;  // elements that are loaded at once
  std::int64_t packs, pieces = 1, packs_of_piece;
  int shift = 0;  // 2^shift threads are a group, which has a piece

  RowCut(std::int64_t rows, std::int64_t length, int widest)
      : rows(rows), length(length), pack(length % widest == 0 || rows == 1 ? widest : 1),
        packs((length + pack - 1) / pack), packs_of_piece(packs) {
    constexpr std::int64_t kEnoughThreads = 132 * 1024, kEnoughBlocks = 132 * 8;  // that fill any GPU
    constexpr std::int64_t kPacksOfThread = 8;
    const auto few = [&] { return rows * threads() < kEnoughThreads; };
    while (threads() < kMostThreads && threads() < packs && (threads() < kWarp || few())) ++shift;
    if (!few() || packs <= 2 * kPacksOfThread * threads()) return;
    const std::int64_t worth = (packs + kPacksOfThread * threads() - 1) / (kPacksOfThread * threads());
    pieces = std::clamp<std::int64_t>(kEnoughBlocks / rows, 1, worth);
    packs_of_piece = ((packs + pieces - 1) / pieces + threads() - 1) / threads() * threads();
    pieces = (packs + packs_of_piece - 1) / packs_of_piece;
  }
  int threads() const { return 1 << shift; }
  int block() const { return threads() > kWarp ? threads() : kThreads; }
  dim3 blocks() const { return blocks_for(rows * pieces, block() / threads()); }
  RowGrid grid() const { return {rows * pieces, length, packs, shift}; }
};

// The elements of rows.
template <typename T>
struct PlainRows {
  using Element = T;
  const T* x;
  __device__ float reference(std::int64_t) const { return 0.0f; }
  __device__ float operator()(float value, float) const { return value; }
};
// 1 for each element that equals y of its row.
template <typename T>
struct EqualRows {
  using Element = T;
  const T *x, *y;
  __device__ float reference(std::int64_t row) const { return to_float(y[row]); }
  __device__ float operator()(float value, float reference) const { return value == reference ? 1.0f : 0.0f; }
};

// `value` and all of a pack.
template <typename Combine, typename Rows, typename T, int N>
__device__ inline float combined(float value, const Neighbours<T, N>& pack, const Rows& rows, float reference) {
  if constexpr (std::is_same_v<Combine, Larger> && std::is_same_v<Rows, PlainRows<BFloat16>> && N > 1) {
    // Two by two, as they lie in their words: one by one they are compared more slowly than they arrive.
    __nv_bfloat162 larger = as_pair(pack.word[0]);
#pragma unroll
    for (int w = 1; w < N / 2; ++w) larger = __hmax2_nan(larger, as_pair(pack.word[w]));
    return larger_of(larger_of(value, __low2float(larger)), __high2float(larger));
  } else {
#pragma unroll
    for (int k = 0; k < N; ++k) value = Combine::combine(value, rows(pack.number(k), reference));
    return value;
  }
}

// to[row * pieces + piece]
template <int N, typename Combine, typename Rows, typename Y>
__global__ void __launch_bounds__(kMostThreads) reduce_rows(RowGrid grid, Divisor pieces, std::int64_t packs_of_piece,
                                                            bool wide, Rows rows, float scale, Y* to) {
  using T = typename Rows::Element;
  RowThread at(grid, blockIdx.x);
  const std::int64_t row = pieces.quotient(at.row), begin = (at.row - row * pieces.divisor) * packs_of_piece;
  if (at.packs > begin + packs_of_piece) at.packs = begin + packs_of_piece;
  const T* from = rows.x + row * grid.length;
  const float reference = at.packs > 0 ? rows.reference(row) : 0.0f;
  float value[kInFlight];
#pragma unroll
  for (int p = 0; p < kInFlight; ++p) value[p] = Combine::kIdentity;
  const auto elements = [&](std::int64_t i) { return grid.length - i < N ? static_cast<int>(grid.length - i) : N; };
  for (std::int64_t base = begin; base < at.packs; base += std::int64_t{at.threads} * kInFlight) {
    Neighbours<T, N> v[kInFlight];
    at.for_packs<kInFlight, N>(base, [&](int p, std::int64_t i) { v[p].load(from + i, elements(i), wide); });
    at.for_packs<kInFlight, N>(base, [&](int p, std::int64_t i) {
      const int count = elements(i);
      if (count == N) {
        value[p] = combined<Combine>(value[p], v[p], rows, reference);
        return;
      }
      for (int k = 0; k < N; ++k) {
        if (k < count) value[p] = Combine::combine(value[p], rows(v[p].number(k), reference));
      }
    });
  }
  float all[1] = {value[0]};
#pragma unroll
  for (int p = 1; p < kInFlight; ++p) all[0] = Combine::combine(all[0], value[p]);
  at.all<Combine>(all);
  if (at.thread == 0 && at.packs > 0) to[at.row] = from_float<Y>(all[0] * scale);
}

template <typename Combine, typename Rows, typename Y>
void launch_rows(const Launch& on, const RowCut& cut, const Rows& rows, float scale, Y* to) {
  using T = typename Rows::Element;
  constexpr int N = kPackOf<T>;
  const Divisor pieces(cut.pieces, cut.rows * cut.pieces + kMostThreads);
  const auto kernel = cut.pack == 1 ? reduce_rows<1, Combine, Rows, Y> : reduce_rows<N, Combine, Rows, Y>;
  launch(on, cut.blocks(), cut.block(), kernel, cut.grid(), pieces, cut.packs_of_piece, is_aligned(rows.x, 16), rows,
         scale, to);
}

// ---- Columns -------------------------------------------------------------------------------------

// 1 for each element of (results, rows, columns) that equals y (results, columns).
template <typename T>
struct EqualColumns {
  static constexpr int kWidest = kPackOf<T>;
  const T *x, *y;
  std::int64_t columns;
  Divisor rows;

  bool wide() const { return is_aligned(x, 16) && is_aligned(y, 16); }
  template <int N>
  __device__ void load(std::int64_t row, std::int64_t column, float (&v)[1][N]) const {
    T values[N], maxima[N];
    load_elements(x + row * columns + column, N, true, values);
    load_elements(y + rows.quotient(row) * columns + column, N, true, maxima);
#pragma unroll
    for (int k = 0; k < N; ++k) v[0][k] = to_float(values[k]) == to_float(maxima[k]) ? 1.0f : 0.0f;
  }
};

// ---- A chain of both -----------------------------------------------------------------------------

struct Run {
  std::int64_t extent;
  bool reduced;
};

// The axes of extent 1 vanish, and neighbours that are both reduced or both kept are one run. One is reduced at least.
std::vector<Run> runs_of(const Shape& shape, const std::vector<bool>& reduced) {
  std::vector<Run> runs;
  bool any = false;
  for (int axis = 0; axis < shape.rank(); ++axis) {
    if (shape[axis] == 1) continue;
    any = any || reduced[axis];
    if (!runs.empty() && runs.back().reduced == reduced[axis]) {
      runs.back().extent *= shape[axis];
    } else {
      runs.push_back({shape[axis], reduced[axis]});
    }
  }
  if (!any) runs.insert(runs.begin(), {1, true});
  return runs;
}

// A tensor seen as (results, rows, columns), of which the rows are reduced.
struct Matrix {
  std::int64_t results = 1, rows = 1, columns = 1;

  // By the last reduced run.
  explicit Matrix(const std::vector<Run>& runs) {
    std::size_t at = runs.size();
    while (!runs[--at].reduced) columns *= runs[at].extent;
    rows = runs[at].extent;
    while (at-- > 0) results *= runs[at].extent;
  }
  std::int64_t left() const { return results * columns; }
};

void remove_last_reduced(std::vector<Run>& runs) {
  std::size_t at = runs.size() - 1;
  while (!runs[at].reduced) --at;
  runs.erase(runs.begin() + static_cast<std::ptrdiff_t>(at));
  if (at > 0 && at < runs.size()) {  // both kept
    runs[at - 1].extent *= runs[at].extent;
    runs.erase(runs.begin() + static_cast<std::ptrdiff_t>(at));
  }
}

// Where the elements of the first step come from.
template <typename T>
struct Plain {
  using Element = T;
  static PlainRows<T> rows(const Launch&, const void* from) { return {static_cast<const T*>(from)}; }
  static MatrixValues<T> columns(const Launch&, const void* from, const Matrix& matrix) {
    return {static_cast<const T*>(from), matrix.columns};
  }
};
// Input 2 is compared with input 1.
template <typename T>
struct Equal {
  using Element = T;
  static EqualRows<T> rows(const Launch& on, const void*) { return {on.input<T>(2), on.input<T>(1)}; }
  static EqualColumns<T> columns(const Launch& on, const void*, const Matrix& matrix) {
    return {on.input<T>(2), on.input<T>(1), matrix.columns, Divisor(matrix.rows, matrix.results * matrix.rows)};
  }
};

struct Step {
  std::function<void(const Launch&, const void* from, void* to, void* scratch)> run;
  std::int64_t left = 0;          // elements that it leaves
  std::size_t scratch_bytes = 0;  // that it needs itself
};

template <typename Combine, typename Source, typename Y>
Step row_step(const RowCut& cut, float scale) {
  return {[=](const Launch& on, const void* from, void* to, void*) {
            launch_rows<Combine>(on, cut, Source::rows(on, from), scale, static_cast<Y*>(to));
          },
          cut.rows * cut.pieces, 0};
}

template <typename Combine, typename Source, typename Y>
Step column_step(const Matrix& matrix, float scale) {
  const ColumnSum sum(matrix.results, matrix.rows, matrix.columns, kPackOf<typename Source::Element>);
  return {[=](const Launch& on, const void* from, void* to, void* scratch) {
            launch_column_sum<1, Combine>(on, sum, scratch, Source::columns(on, from, matrix),
                                          StoreSum<Y>{static_cast<Y*>(to), scale});
          },
          matrix.left(), sum.workspace_bytes(1)};
}

// The next step of `runs`, which it takes from them. Its result is Y if it is the last, else f32.
template <typename Combine, typename Source, typename Y>
Step next_step(std::vector<Run>& runs, float scale) {
  const Matrix matrix(runs);
  const bool only = std::ranges::count(runs, true, &Run::reduced) == 1;
  if (matrix.columns > 1) {
    remove_last_reduced(runs);
    return only ? column_step<Combine, Source, Y>(matrix, scale) : column_step<Combine, Source, float>(matrix, 1.0f);
  }
  const RowCut cut(matrix.results, matrix.rows, kPackOf<typename Source::Element>);
  if (cut.pieces > 1) {
    runs.back().extent = cut.pieces;
    return row_step<Combine, Source, float>(cut, 1.0f);
  }
  remove_last_reduced(runs);
  return only ? row_step<Combine, Source, Y>(cut, scale) : row_step<Combine, Source, float>(cut, 1.0f);
}

// All steps. What they leave, and what they need, lies in the workspace one behind another.
struct Chain {
  std::vector<Step> steps;
  std::size_t bytes = 0;

  static std::size_t aligned(std::size_t bytes) { return (bytes + kMemoryAlignment - 1) / kMemoryAlignment * kMemoryAlignment; }

  // `workspace`: `bytes` bytes.
  void run(const Launch& on, const void* from, void* to, void* workspace) const {
    auto* next = static_cast<std::byte*>(workspace);
    for (std::size_t i = 0; i < steps.size(); ++i) {
      const bool last = i + 1 == steps.size();
      void* left = last ? to : next;
      if (!last) next += aligned(static_cast<std::size_t>(steps[i].left) * sizeof(float));
      steps[i].run(on, from, left, next);
      next += aligned(steps[i].scratch_bytes);
      from = left;
    }
  }
};

template <typename Combine, typename Source, typename Y>
Chain chain_of(std::vector<Run> runs, float scale) {
  Chain chain;
  chain.steps.push_back(next_step<Combine, Source, Y>(runs, scale));
  while (std::ranges::count(runs, true, &Run::reduced) > 0) {
    chain.steps.push_back(next_step<Combine, Plain<float>, Y>(runs, scale));
  }
  for (std::size_t i = 0; i < chain.steps.size(); ++i) {
    const bool last = i + 1 == chain.steps.size();
    if (!last) chain.bytes += Chain::aligned(static_cast<std::size_t>(chain.steps[i].left) * sizeof(float));
    chain.bytes += Chain::aligned(chain.steps[i].scratch_bytes);
  }
  return chain;
}

// ---- Forward -------------------------------------------------------------------------------------

template <typename T>
struct Zero {
  __device__ T operator()() const { return T{}; }
};

Kernel reduce_cuda(const KernelRequest& request) {
  const auto& op = request.op_as<ReduceOp>();
  const Shape& shape = request.inputs[0].shape;
  const std::string name = text(op.name(), "_cuda");
  const std::int64_t results = request.outputs[0].elements();
  const double mean = static_cast<double>(results) / static_cast<double>(shape.elements());
  const float scale = op.kind() == ReduceKind::kMean ? static_cast<float>(mean) : 1.0f;
  return for_cuda_floating(request, request.inputs[0].dtype, [&]<typename T>(T) -> Kernel {
    if (shape.elements() == 0) {  // sums over nothing
      return {name + " (empty)", [results](const Launch& on) {
                launch_elementwise(on, results, on.output<T>(0), Zero<T>{});
              }};
    }
    const std::vector<Run> runs = runs_of(shape, op.reduced(shape));
    const Chain chain = op.kind() == ReduceKind::kMax ? chain_of<Larger, Plain<T>, T>(runs, scale)
                                                      : chain_of<Adding, Plain<T>, T>(runs, scale);
    return {name,
            [=](const Launch& on) { chain.run(on, on.input<T>(0), on.output<T>(0), on.workspace); }, chain.bytes};
  });
}

// ---- Gradients -----------------------------------------------------------------------------------

// The operand of (results, rows, columns) that has one element for all rows: (results, columns). Made without memory where
// the kernel is made.
template <typename T>
struct OverRows {
  using Element = T;
  static constexpr std::size_t kSize = 1;  // it stays in a cache
  static constexpr bool wide = true;
  enum class Access { kOne, kWide, kEach };  // N neighbours are one element; lie side by side and aligned; anything

  const T* x = nullptr;
  Divisor of_result, columns;  // rows * columns
  Access access = Access::kEach;

  explicit OverRows(const Matrix& matrix) {
    const std::int64_t count = matrix.left() * matrix.rows;
    of_result = Divisor(matrix.rows * matrix.columns, count);
    columns = Divisor(matrix.columns, count);
  }
  OverRows of(const T* memory) const {
    OverRows out = *this;
    out.x = memory;
    return out;
  }
  template <int N>
  void prepare() {
    if (columns.divisor == 1 && of_result.divisor % N == 0) {
      access = Access::kOne;
    } else if (columns.divisor % N == 0 && is_aligned(x, kAccess<T, N>)) {
      access = Access::kWide;
    } else {
      access = Access::kEach;
    }
  }
  __device__ std::int64_t place(std::int64_t i) const {
    const std::int64_t result = of_result.quotient(i);
    if (columns.divisor == 1) return result;
    return result * columns.divisor + columns.remainder(i - result * of_result.divisor);
  }
  template <bool kFast, int N>
  __device__ void load(std::int64_t i, int n, T (&to)[N]) const {
    if (access == Access::kOne) {
      const T value = x[place(i)];
#pragma unroll
      for (int k = 0; k < N; ++k) to[k] = value;
    } else if (access == Access::kWide) {
      load_pack(x + place(i), to);
    } else {
#pragma unroll
      for (int k = 0; k < N; ++k) to[k] = kFast || k < n ? x[place(i + k)] : T{};
    }
  }
};

// Which axes of x were reduced: those that have extent 1 in y. (Axes of extent 1 in both do not matter.)
std::vector<bool> reduced_axes(const Shape& x, const Shape& y) {
  std::vector<bool> out;
  for (int axis = 0; axis < x.rank(); ++axis) out.push_back(y[axis] == 1 && x[axis] != 1);
  return out;
}

// Calls make(operand), with which make makes operands of the shape of y for elementwise kernels over x: operand(null pointer
// to their elements).
template <typename Make>
Kernel with_operands(const Shape& x, const Shape& y, const Make& make) {
  const std::vector<Run> runs = runs_of(x, reduced_axes(x, y));
  if (std::ranges::count(runs, true, &Run::reduced) == 1) {
    const Matrix matrix(runs);
    return make([=]<typename T>(const T*) { return OverRows<T>(matrix); });
  }
  const BroadcastLoops loops(y, x, x);
  return make([=]<typename T>(const T*) { return Looped<T>(loops, loops.a_stride); });
}

struct Scaled {
  float scale;
  __device__ float operator()(float dy) const { return __fmul_rn(scale, dy); }
};

Kernel sum_backward_cuda(const KernelRequest& request) {
  const Scaled scaled{static_cast<float>(request.op_as<SumBackwardOp>().scale())};
  const Shape &x = request.outputs[0].shape, &y = request.inputs[0].shape;
  const std::int64_t count = x.elements();
  if (count == 0) return {"reduce_sum_backward_cuda (empty)", [](const Launch&) {}};
  return for_cuda_floating(request, request.outputs[0].dtype, [&]<typename T>(T) {
    return with_operands(x, y, [&](const auto& operand) -> Kernel {
      const auto dy = operand(static_cast<const T*>(nullptr));
      return {"reduce_sum_backward_cuda", [=](const Launch& on) {
                launch_elementwise(on, count, on.output<T>(0), scaled, dy.of(on.input<T>(0)));
              }};
    });
  });
}

// Whether an element attains the maximum, and its share of the gradient where it is one of `count`.
struct IsEqual {
  __device__ float operator()(float x, float y) const { return x == y ? 1.0f : 0.0f; }
};
struct Share {
  __device__ float operator()(float x, float y, float dy, float count) const { return x == y ? dy / count : 0.0f; }
};

// First counts the elements that attain the maximum, then shares dy among them. Counts are f32.
Kernel max_backward_cuda(const KernelRequest& request) {
  const Shape &x = request.inputs[2].shape, &y = request.inputs[1].shape;
  const std::int64_t count = x.elements();
  if (count == 0) return {"reduce_max_backward_cuda (empty)", [](const Launch&) {}};
  return for_cuda_floating(request, request.outputs[0].dtype, [&]<typename T>(T) {
    return with_operands(x, y, [&](const auto& operand) -> Kernel {
      const std::vector<Run> runs = runs_of(x, reduced_axes(x, y));
      const auto like_y = operand(static_cast<const T*>(nullptr));
      const auto like_counts = operand(static_cast<const float*>(nullptr));
      // Where several runs are reduced, who is equal is a tensor of its own.
      const bool one_run = std::ranges::count(runs, true, &Run::reduced) == 1;
      const Chain chain = one_run ? chain_of<Adding, Equal<T>, float>(runs, 1.0f)
                                  : chain_of<Adding, Plain<float>, float>(runs, 1.0f);
      const std::size_t count_bytes = Chain::aligned(static_cast<std::size_t>(y.elements()) * sizeof(float));
      const std::size_t equal_bytes = one_run ? 0 : Chain::aligned(static_cast<std::size_t>(count) * sizeof(float));
      auto run = [=](const Launch& on) {
        auto* memory = static_cast<std::byte*>(on.workspace);
        auto *counts = reinterpret_cast<float*>(memory), *equal = reinterpret_cast<float*>(memory + count_bytes);
        const Full<T> x{on.input<T>(2)};
        const auto y = like_y.of(on.input<T>(1)), dy = like_y.of(on.input<T>(0));
        if (!one_run) launch_elementwise(on, count, equal, IsEqual{}, x, y);
        chain.run(on, equal, counts, memory + count_bytes + equal_bytes);
        launch_elementwise(on, count, on.output<T>(0), Share{}, x, y, dy, like_counts.of(counts));
      };
      return {"reduce_max_backward_cuda", run, count_bytes + equal_bytes + chain.bytes};
    });
  });
}

}  // namespace

void register_reduce_cuda(KernelRegistry& registry) {
  for (const char* name : {"reduce_sum", "reduce_mean", "reduce_max"}) {
    registry.add(name, DeviceKind::kCuda, {reduce_cuda, nullptr});
  }
  registry.add("reduce_sum_backward", DeviceKind::kCuda, {sum_backward_cuda, nullptr});
  registry.add("reduce_max_backward", DeviceKind::kCuda, {max_backward_cuda, nullptr});
}

}  // namespace lockstep
