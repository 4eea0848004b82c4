#include "bench/gpu/buffers.h"

#include <algorithm>
#include <cstring>

#include "bench/gpu/launch_timer.h"
#include "core/base/bfloat16.h"
#include "core/base/error.h"
#include "core/base/random.h"
#include "core/device/gpu_module.h"

namespace lockstep::bench {
namespace {

constexpr std::int64_t kBlock = 1 << 20;  // elements

template <typename T, typename Make>
std::vector<std::byte> block_with(const Make& make) {
  std::vector<std::byte> out(kBlock * sizeof(T));
  for (std::int64_t i = 0; i < kBlock; ++i) {
    const T value = static_cast<T>(make(i));
    std::memcpy(out.data() + i * sizeof(T), &value, sizeof(T));
  }
  return out;
}

std::size_t aligned(std::size_t bytes) {
  return (bytes + 255) / 256 * 256;
}

}  // namespace

Gpu open_gpu(bool tf32) {
  const std::string module = gpu_module_path();
  std::string why;
  const GpuBackend* backend = open_gpu_module(module, why);
  if (backend == nullptr || backend->device_count(why) == 0)
    environment_failed("there is no GPU: ", why);
  Gpu out{backend->make_device(0, {.tf32 = tf32}), {}};
  using Register = void(KernelRegistry*);
  reinterpret_cast<Register*>(find_in_gpu_module(module, "lockstep_register_cuda_kernels"))(
      &out.kernels);
  return out;
}

const std::vector<std::byte>& Filler::block_of(DType dtype, std::int64_t bound, bool positive) {
  std::vector<std::byte>& block = blocks_[{dtype, bound, positive}];
  if (!block.empty()) return block;
  const RandomStream random(1, Purpose::kSynthesize);
  const auto floating = [&](std::int64_t i) {
    const float u = random.uniform(0, 0, static_cast<std::uint64_t>(i));
    return positive ? 0.5f + u : 2 * u - 1;
  };
  const auto integer = [&](std::int64_t i) {
    return random.below(bound, 1, static_cast<std::uint64_t>(i));
  };
  switch (dtype) {
    case DType::kF32:
      return block = block_with<float>(floating);
    case DType::kBF16:
      return block = block_with<BFloat16>(floating);
    case DType::kU8:
      return block = block_with<std::uint8_t>(integer);
    case DType::kI32:
      return block = block_with<std::int32_t>(integer);
    case DType::kI64:
      return block = block_with<std::int64_t>([](std::int64_t i) { return i; });
    default:
      broken_invariant("no random elements of ", lockstep::name_of(dtype));
  }
}

void Filler::fill(std::byte* to, const TensorType& type, std::int64_t bound, bool positive) {
  const std::vector<std::byte>& block = block_of(type.dtype, bound, positive);
  std::size_t filled = std::min(block.size(), type.bytes());
  device_.copy_in(to, block.data(), filled);
  while (filled < type.bytes()) {  // twice as much each time
    const Transfer more{to + filled, to, std::min(filled, type.bytes() - filled)};
    device_.copy(StreamKind::kCompute, {&more, 1});
    filled += more.bytes;
  }
  device_.synchronize();
}

Buffers::Buffers(Device& device, Filler& filler, const KernelCase& c) {
  const std::vector<TensorType> outputs = c.op->infer(c.inputs);
  const Traits traits = c.op->traits();
  const bool overwrites =
      traits.mutates != 0;  // then output j has the memory of the j-th overwritten input
  std::size_t bytes = 0;
  for (const TensorType& type : c.inputs) bytes += aligned(type.bytes());
  for (const TensorType& type : outputs) bytes += overwrites ? 0 : aligned(type.bytes());
  const std::int64_t sets = sets_of_buffers(static_cast<double>(bytes));
  memory_ = device.allocate(bytes * sets, MemoryKind::kPrivate, "buffers of a benchmark");
  std::size_t offset = 0;
  const auto take = [&](const TensorType& type) {
    std::byte* at = memory_.at(offset);
    offset += aligned(type.bytes());
    return at;
  };
  for (std::int64_t set = 0; set < sets; ++set) {
    std::vector<void*> in, out;
    for (std::size_t i = 0; i < c.inputs.size(); ++i) {
      std::byte* at = take(c.inputs[i]);
      filler.fill(at, c.inputs[i], c.integer_bound,
                  std::ranges::find(c.positive, static_cast<int>(i)) != c.positive.end());
      in.push_back(at);
      if (traits.overwrites(i)) out.push_back(at);
    }
    for (std::size_t j = 0; !overwrites && j < outputs.size(); ++j) out.push_back(take(outputs[j]));
    inputs_.push_back(std::move(in));
    outputs_.push_back(std::move(out));
  }
}

}  // namespace lockstep::bench
