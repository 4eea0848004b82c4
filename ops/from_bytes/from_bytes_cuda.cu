// CUDA kernel of from_bytes. A block makes the table of the 256 values of each feature, in double as the header says, and
// looks them up: GPUs that are slow at double are so for a few hundred numbers only.
#include <array>

#include "core/kernel/cuda_elementwise.h"
#include "ops/from_bytes/from_bytes.h"

namespace lockstep {
namespace {

// Bytes that a thread has at once: 16 bytes of the result.
template <typename T>
inline constexpr int kNeighbours = 16 / static_cast<int>(sizeof(T));
constexpr int kPacks = 4;  // of them, in flight
constexpr int kMostFeatures = static_cast<int>(FromBytesOp::kMostFeatures);

struct Lines {
  double shift[kMostFeatures], scale[kMostFeatures];
};

// Bytes as words, four in each, so that they take few registers and nothing waits for them before the next are asked for.
// The first n of N, then zeros. `wide`: x is a multiple of N.
template <int N>
__device__ inline void load_bytes(const std::uint8_t* x, std::int64_t n, bool wide, std::uint32_t (&words)[N / 4]) {
  if (wide && n >= N) return load_pack(reinterpret_cast<const std::uint32_t*>(x), words);
  for (std::uint32_t& word : words) word = 0;
  for (int k = 0; k < N && k < n; ++k) words[k / 4] |= std::uint32_t{x[k]} << (8 * (k % 4));
}

// kTables: 1 for one feature, or room for all.
template <int kTables, typename T>
__global__ void __launch_bounds__(kThreads)
    from_bytes(const std::uint8_t* x, T* y, std::int64_t count, bool x_wide, bool y_wide,
               const __grid_constant__ Lines lines, Divisor features, int tiles) {
  constexpr int N = kNeighbours<T>;
  __shared__ T table[kTables * 256];
  const int of_all = kTables == 1 ? 256 : static_cast<int>(features.divisor) * 256;
  for (int i = static_cast<int>(threadIdx.x); i < of_all; i += kThreads) {
    const double value = (static_cast<double>(i % 256) - lines.shift[i / 256]) * lines.scale[i / 256];
    table[i] = from_float<T>(static_cast<float>(value));
  }
  __syncthreads();
  constexpr int kTile = kPacks * kThreads * N;
  for (int tile = 0; tile < tiles; ++tile) {
    const std::int64_t first =
        (static_cast<std::int64_t>(blockIdx.x) * tiles + tile) * kTile + threadIdx.x * N;
    std::uint32_t words[kPacks][N / 4];
#pragma unroll
    for (int p = 0; p < kPacks; ++p) {
      const std::int64_t i = first + p * kThreads * N;
      load_bytes<N>(x + i, count - i, x_wide, words[p]);
    }
#pragma unroll
    for (int p = 0; p < kPacks; ++p) {
      const std::int64_t i = first + p * kThreads * N;
      if (i >= count) break;
      T out[N];
      int feature = kTables == 1 ? 0 : static_cast<int>(features.remainder(i));
#pragma unroll
      for (int k = 0; k < N; ++k) {
        out[k] = table[feature * 256 + static_cast<int>(words[p][k / 4] >> (8 * (k % 4)) & 0xffu)];
        if (kTables > 1 && ++feature == features.divisor) feature = 0;
      }
      store_elements(y + i, count - i < N ? static_cast<int>(count - i) : N, y_wide, out);
    }
  }
}

template <typename T>
Kernel make_from_bytes(const KernelRequest& request) {
  const auto& op = request.op_as<FromBytesOp>();
  Lines lines = {};
  std::copy(op.shift().begin(), op.shift().end(), lines.shift);
  std::copy(op.scale().begin(), op.scale().end(), lines.scale);
  const std::int64_t count = request.inputs[0].elements();
  const Divisor features(static_cast<std::int64_t>(op.features()), count);
  const auto kernel = op.features() == 1 ? from_bytes<1, T> : from_bytes<kMostFeatures, T>;
  // Large images: several tiles a block, so that the table is made less often.
  constexpr std::int64_t kTile = kPacks * kThreads * kNeighbours<T>;
  const int tiles = static_cast<int>(std::clamp<std::int64_t>(count / kTile / kMostBlocks, 1, 16));
  return {"from_bytes_cuda", [=](const Launch& on) {
            const auto* x = on.input<std::uint8_t>(0);
            T* y = on.output<T>(0);
            launch(on, blocks_for(count, kTile * tiles), kThreads, kernel, x, y, count, is_aligned(x, kNeighbours<T>),
                   is_aligned(y, 16), lines, features, tiles);
          }};
}

Kernel from_bytes_cuda(const KernelRequest& request) {
  return for_cuda_floating(request, request.outputs[0].dtype, [&]<typename T>(T) { return make_from_bytes<T>(request); });
}

}  // namespace

void register_from_bytes_cuda(KernelRegistry& registry) {
  registry.add("from_bytes", DeviceKind::kCuda, {from_bytes_cuda, nullptr});
}

}  // namespace lockstep
