// Finishes the fixed tree: each thread has some neighbouring elements, reads them of one part after another, and adds what
// the program says. Every part is read once, the result written once.
#include "core/kernel/cuda_kernel.h"
#include "dist/tree_sum.h"

namespace lockstep {
namespace {

constexpr int kTreeThreads = 128;  // of a block: their stacks fit into static shared memory
constexpr int kBatch = 8;          // parts that a thread reads at once
constexpr int kMostParts = 2048;
constexpr int kMostOwn = 64;  // 2 log2 of the number of microbatches
constexpr int kFlatTree = 4, kUsualTree = 12, kDeepest = 48;  // values on a stack

struct TreeSumArguments {
  const float* arrived;
  float* result;
  std::int64_t stride, count;
  int before, own, parts;
  const float* own_parts[kMostOwn];
  std::uint8_t additions[kMostParts];
};

__device__ inline const float* part_of(const TreeSumArguments& sum, int position) {
  if (position < sum.before) return sum.arrived + position * sum.stride;
  if (position < sum.before + sum.own) return sum.own_parts[position - sum.before];
  return sum.arrived + (position - sum.own) * sum.stride;
}

template <int N>
__device__ inline Pack<float, N> added(const Pack<float, N>& left, const Pack<float, N>& right) {
  Pack<float, N> out;
#pragma unroll
  for (int i = 0; i < N; ++i) out.element[i] = left.element[i] + right.element[i];
  return out;
}

// The sum of the elements [N * pack, N * pack + N) of all parts. `stack` is this thread's: value d lies at d * kTreeThreads
// packs of kStacked elements.
template <int N, int kStacked>
__device__ inline Pack<float, N> tree_value(const TreeSumArguments& sum, std::int64_t pack, Pack<float, kStacked>* stack) {
  Pack<float, N> value;
  int height = 0;
  for (int first = 0; first < sum.parts; first += kBatch) {
    Pack<float, N> batch[kBatch];
#pragma unroll
    for (int i = 0; i < kBatch; ++i) {
      if (first + i < sum.parts) batch[i] = reinterpret_cast<const Pack<float, N>*>(part_of(sum, first + i))[pack];
    }
#pragma unroll
    for (int i = 0; i < kBatch; ++i) {
      if (first + i < sum.parts) {
        value = batch[i];
        for (int n = sum.additions[first + i]; n > 0; --n) {
          value = added(reinterpret_cast<const Pack<float, N>&>(stack[--height * kTreeThreads]), value);
        }
        reinterpret_cast<Pack<float, N>&>(stack[height++ * kTreeThreads]) = value;
      }
    }
  }
  return value;
}

template <int N, int kDepth>
__global__ void __launch_bounds__(kTreeThreads) finish_tree(const __grid_constant__ TreeSumArguments sum) {
  __shared__ Pack<float, N> stacks[kDepth * kTreeThreads];
  Pack<float, N>* stack = stacks + threadIdx.x;
  const std::int64_t packs = sum.count / N;
  const std::int64_t first = blockIdx.x * static_cast<std::int64_t>(kTreeThreads) + threadIdx.x;
  const std::int64_t stride = static_cast<std::int64_t>(gridDim.x) * kTreeThreads;
  for (std::int64_t pack = first; pack < packs; pack += stride) {
    reinterpret_cast<Pack<float, N>*>(sum.result)[pack] = tree_value<N, N>(sum, pack, stack);
  }
  const std::int64_t rest = packs * N + first;
  if (rest < sum.count) sum.result[rest] = tree_value<1, N>(sum, rest, stack).element[0];
}

bool is_wide(const TreeSumArguments& sum) {
  auto address = reinterpret_cast<std::uintptr_t>(sum.result);
  if (sum.parts > sum.own) address |= reinterpret_cast<std::uintptr_t>(sum.arrived) | sum.stride * sizeof(float);
  for (int i = 0; i < sum.own; ++i) address |= reinterpret_cast<std::uintptr_t>(sum.own_parts[i]);
  return address % sizeof(Pack<float, kPackOf<float>>) == 0;
}

// Arguments are large, and are copied by each launch: a graph keeps them.
template <int N, int kDepth>
void queue(const Launch& on, const TreeSumArguments& sum) {
  launch(on, striding_blocks((sum.count + N - 1) / N, kTreeThreads), kTreeThreads, finish_tree<N, kDepth>, sum);
}

}  // namespace

TreeSumKernel::TreeSumKernel(const FlatSum& sum) : sum_(sum), program_(stack_program(sum.sums, sum.parts())) {
  check_input(sum.parts() <= kMostParts && sum.own <= kMostOwn && program_.depth <= kDeepest, "the sum of ", sum.parts(),
              " parts is finished at a time, at most ", kMostParts,
              " can be; let train.microbatches be a multiple of the number of workers");
}

void TreeSumKernel::run(const Launch& on) const {
  if (sum_.count == 0 || sum_.parts() == 0) return;
  TreeSumArguments arguments{.arrived = static_cast<const float*>(on.workspace),
                             .result = sum_.result.in(on),
                             .stride = sum_.stride,
                             .count = sum_.count,
                             .before = sum_.before,
                             .own = sum_.own,
                             .parts = sum_.parts(),
                             .own_parts = {},
                             .additions = {}};
  for (int i = 0; i < sum_.own; ++i) arguments.own_parts[i] = sum_.part(sum_.before + i).in(on);
  std::copy(program_.additions.begin(), program_.additions.end(), arguments.additions);
  constexpr int kWide = kPackOf<float>;
  if (program_.depth <= kFlatTree) {
    return is_wide(arguments) ? queue<kWide, kFlatTree>(on, arguments) : queue<1, kFlatTree>(on, arguments);
  }
  if (program_.depth <= kUsualTree) {
    return is_wide(arguments) ? queue<kWide, kUsualTree>(on, arguments) : queue<1, kUsualTree>(on, arguments);
  }
  queue<1, kDeepest>(on, arguments);
}

}  // namespace lockstep
