// CUDA kernel of from_bytes. A block makes the table of the 256 values of each feature, in double as the header says, and
// looks them up: GPUs that are slow at double are so for a few hundred numbers only.
#include <array>

#include "core/kernel/cuda_elementwise.h"
#include "ops/from_bytes/from_bytes.h"

namespace lockstep {
namespace {

constexpr int kNeighbours = 4;  // bytes that a thread has at once: 16 bytes of the result
constexpr int kPacks = 4;       // of them, in flight
constexpr int kMostFeatures = static_cast<int>(FromBytesOp::kMostFeatures);

struct Lines {
  double shift[kMostFeatures], scale[kMostFeatures];
};

// Up to four bytes as one word, so that it takes one register and nothing waits for it before the next is asked for.
__device__ inline std::uint32_t load_bytes(const std::uint8_t* x, std::int64_t n, bool wide) {
  if (wide && n >= kNeighbours) return *reinterpret_cast<const std::uint32_t*>(x);
  std::uint32_t word = 0;
  for (int k = 0; k < kNeighbours && k < n; ++k) word |= std::uint32_t{x[k]} << (8 * k);
  return word;
}

// kTables: 1 for one feature, or room for all.
template <int kTables>
__global__ void __launch_bounds__(kThreads)
    from_bytes(const std::uint8_t* x, float* y, std::int64_t count, bool x_wide, bool y_wide,
               const __grid_constant__ Lines lines, Divisor features, int tiles) {
  __shared__ float table[kTables * 256];
  const int of_all = kTables == 1 ? 256 : static_cast<int>(features.divisor) * 256;
  for (int i = static_cast<int>(threadIdx.x); i < of_all; i += kThreads) {
    table[i] = static_cast<float>((static_cast<double>(i % 256) - lines.shift[i / 256]) * lines.scale[i / 256]);
  }
  __syncthreads();
  constexpr int kTile = kPacks * kThreads * kNeighbours;
  for (int tile = 0; tile < tiles; ++tile) {
    const std::int64_t first =
        (static_cast<std::int64_t>(blockIdx.x) * tiles + tile) * kTile + threadIdx.x * kNeighbours;
    std::uint32_t words[kPacks];
#pragma unroll
    for (int p = 0; p < kPacks; ++p) {
      const std::int64_t i = first + p * kThreads * kNeighbours;
      words[p] = i < count ? load_bytes(x + i, count - i, x_wide) : 0;
    }
#pragma unroll
    for (int p = 0; p < kPacks; ++p) {
      const std::int64_t i = first + p * kThreads * kNeighbours;
      if (i >= count) break;
      float out[kNeighbours];
      int feature = kTables == 1 ? 0 : static_cast<int>(features.remainder(i));
#pragma unroll
      for (int k = 0; k < kNeighbours; ++k) {
        out[k] = table[feature * 256 + static_cast<int>(words[p] >> (8 * k) & 0xffu)];
        if (kTables > 1 && ++feature == features.divisor) feature = 0;
      }
      store_elements(y + i, count - i < kNeighbours ? static_cast<int>(count - i) : kNeighbours, y_wide, out);
    }
  }
}

Kernel from_bytes_cuda(const KernelRequest& request) {
  const auto& op = request.op_as<FromBytesOp>();
  Lines lines = {};
  std::copy(op.shift().begin(), op.shift().end(), lines.shift);
  std::copy(op.scale().begin(), op.scale().end(), lines.scale);
  const std::int64_t count = request.inputs[0].elements();
  const Divisor features(static_cast<std::int64_t>(op.features()), count);
  const auto kernel = op.features() == 1 ? from_bytes<1> : from_bytes<kMostFeatures>;
  // Large images: several tiles a block, so that the table is made less often.
  constexpr std::int64_t kTile = kPacks * kThreads * kNeighbours;
  const int tiles = static_cast<int>(std::clamp<std::int64_t>(count / kTile / kMostBlocks, 1, 16));
  return {"from_bytes_cuda", [=](const Launch& on) {
            const auto* x = on.input<std::uint8_t>(0);
            float* y = on.output<float>(0);
            launch(on, blocks_for(count, kTile * tiles), kThreads, kernel, x, y, count, is_aligned(x, kNeighbours),
                   is_aligned(y, 16), lines, features, tiles);
          }};
}

}  // namespace

void register_from_bytes_cuda(KernelRegistry& registry) {
  registry.add("from_bytes", DeviceKind::kCuda, {from_bytes_cuda, nullptr});
}

}  // namespace lockstep
