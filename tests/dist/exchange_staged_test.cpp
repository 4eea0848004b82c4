// The exchange through the memory of the host, between emulated GPUs, against the kernels of the CPU, bit for bit.
#include "dist/exchange_staged.h"

#include <gtest/gtest.h>

#include "core/base/error.h"
#include "core/device/cpu_device.h"
#include "tests/dist/exchange_cases.h"
#include "tests/dist/world_of_threads.h"
#include "tests/emulator/emulated_device.h"

namespace lockstep {
namespace {

using testing::exchange_case;
using testing::ExchangeKind;
using testing::random_split;
using testing::run_world;
using testing::Split;

TEST(ExchangeStaged, HasTheBitsOfTheCpuKernels) {
  for (std::uint32_t seed = 0; seed < 200; ++seed) {
    const Split split = random_split(seed);
    SCOPED_TRACE(text("seed ", seed, ": ", split.world, " ranks, ", split.microbatches, " microbatches"));
    run_world(split.world, [&](std::unique_ptr<Communicator> communicator) {
      EmulatedDevice gpu;
      KernelRegistry staged, cpu;
      register_exchange_staged(staged, *communicator, gpu);
      register_exchange_cpu(cpu, *communicator);
      CpuDevice host;
      for (const ExchangeKind kind :
           {ExchangeKind::kTreeReduce, ExchangeKind::kGatherState, ExchangeKind::kTreeAllReduce, ExchangeKind::kAllGather,
            ExchangeKind::kFastGatherState, ExchangeKind::kFastReduce}) {
        const auto one = exchange_case(kind, split, communicator->rank());
        const auto expected = testing::run_exchange(cpu, host, one);
        ASSERT_TRUE(testing::same_bits(testing::run_exchange(staged, gpu, one), expected)) << one.op->to_string();
      }
    }, 60, split.nodes);
  }
}

TEST(ExchangeStaged, IsNotRecorded) {
  const auto communicator = make_single_communicator();
  EmulatedDevice gpu;
  KernelRegistry staged;
  register_exchange_staged(staged, *communicator, gpu);
  const Split alone{.microbatches = 3, .elements = 5, .world = 1, .nodes = {0}, .chunks = {{0, 5}}};
  const testing::BoundExchange bound(staged, gpu, exchange_case(ExchangeKind::kTreeReduce, alone, 0));
  EXPECT_TRUE(bound.kernel().on_host);
}

// Notes what is page-locked.
class LockingDevice final : public Device {
 public:
  DeviceKind kind() const override { return DeviceKind::kCuda; }
  std::string name() const override { return "test"; }
  std::size_t memory_limit() const override { return 1 << 20; }
  bool reads_host_memory() const override { return false; }
  void copy_in(void*, const void*, std::size_t) override {}
  void copy_out(void*, const void*, std::size_t) override {}
  void synchronize() override {}
  void page_lock(void* memory, std::size_t bytes) override { locked[memory] = bytes; }
  void page_unlock(void* memory) override { locked.erase(memory); }

  std::map<void*, std::size_t> locked;

 private:
  void* allocate_bytes(std::size_t bytes, MemoryKind) override { return std::calloc(bytes, 1); }
  void free_bytes(void* data, std::size_t, MemoryKind) override { std::free(data); }
};

TEST(Staging, IsPageLockedMemoryOfTheHeap) {
  std::string why;
  const auto heap = SharedHeap::make(why);
  ASSERT_NE(heap, nullptr) << why;
  LockingDevice device;
  SharedRef place;
  {
    Staging staging(heap.get(), device);
    EXPECT_EQ(staging.data(), nullptr);
    staging.reserve(100);
    const std::byte* first = staging.data();
    EXPECT_TRUE(heap->locate(first + 99, place));
    staging.reserve(50);
    EXPECT_EQ(staging.data(), first);
    staging.reserve(1 << 16);
    EXPECT_TRUE(heap->locate(staging.data() + (1 << 16) - 1, place));
    EXPECT_EQ(device.locked, (std::map<void*, std::size_t>{{staging.data(), 1 << 16}}));
  }
  EXPECT_TRUE(device.locked.empty());
}

TEST(Staging, WithoutAHeapIsStagingMemoryOfTheDevice) {
  LockingDevice device;
  Staging staging(nullptr, device);
  staging.reserve(100);
  staging.reserve(1000);
  EXPECT_EQ(staging.bytes(), 1000u);
  staging.data()[999] = std::byte{1};
  EXPECT_TRUE(device.locked.empty());
}

}  // namespace
}  // namespace lockstep
