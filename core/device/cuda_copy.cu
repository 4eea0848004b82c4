// Small work of the device itself: several copies in one launch, and its clock. Memory of the host that is page-locked is read and written in its place.
#include <algorithm>
#include <cstdint>

#include "core/device/cuda_device.h"

namespace lockstep {
namespace {

constexpr int kCopyThreads = 256;
constexpr std::int64_t kMostCopyBlocks = 256;  // for each transfer
constexpr std::int64_t kBytesOfBlock = kCopyThreads * 16 * 4;

struct Transfers {
  Transfer list[Device::kMostTransfers];
  std::uint64_t* clock = nullptr;
};

// Block (b, t) has every gridDim.x-th part of transfer t. The first one writes PTX's global timer, in nanoseconds.
__global__ void copy_all(Transfers transfers) {
  if (transfers.clock != nullptr && blockIdx.x + blockIdx.y + threadIdx.x == 0) {
    std::uint64_t now;
    asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(now));
    *transfers.clock = now;
  }
  const Transfer transfer = transfers.list[blockIdx.y];
  auto* to = static_cast<char*>(transfer.to);
  const auto* from = static_cast<const char*>(transfer.from);
  const std::size_t first = blockIdx.x * static_cast<std::size_t>(blockDim.x) + threadIdx.x;
  const std::size_t stride = static_cast<std::size_t>(gridDim.x) * blockDim.x;
  const bool wide = (reinterpret_cast<std::uintptr_t>(to) | reinterpret_cast<std::uintptr_t>(from)) % 16 == 0;
  const std::size_t packs = wide ? transfer.bytes / 16 : 0;
  for (std::size_t i = first; i < packs; i += stride) {
    reinterpret_cast<uint4*>(to)[i] = reinterpret_cast<const uint4*>(from)[i];
  }
  for (std::size_t i = packs * 16 + first; i < transfer.bytes; i += stride) to[i] = from[i];
}

}  // namespace

void launch_copies(cudaStream_t stream, std::span<const Transfer> transfers, std::uint64_t* clock) {
  require(transfers.size() <= Device::kMostTransfers, transfers.size(), " transfers in one launch");
  Transfers arguments{};
  arguments.clock = clock;
  std::size_t largest = 0;
  for (std::size_t i = 0; i < transfers.size(); ++i) {
    arguments.list[i] = transfers[i];
    largest = std::max(largest, transfers[i].bytes);
  }
  if (largest == 0 && clock == nullptr) return;
  const std::int64_t blocks = std::clamp<std::int64_t>(
      (static_cast<std::int64_t>(largest) + kBytesOfBlock - 1) / kBytesOfBlock, 1, kMostCopyBlocks);
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3(static_cast<unsigned>(blocks), static_cast<unsigned>(std::max<std::size_t>(1, transfers.size())));
  config.blockDim = dim3(kCopyThreads);
  config.stream = stream;
  check_cuda(cudaLaunchKernelEx(&config, copy_all, arguments), "launch of copies");
}

}  // namespace lockstep
