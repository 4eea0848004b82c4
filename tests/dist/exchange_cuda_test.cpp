// The exchange between GPUs on emulated ones, with the local communicator in the place of NCCL, against the kernels of the
// CPU, bit for bit.
#include "dist/exchange_cuda.h"

#include <gtest/gtest.h>

#include "core/base/error.h"
#include "core/device/cpu_device.h"
#include "dist/tree_sum.h"
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

class LocalTransport final : public GpuTransport {
 public:
  explicit LocalTransport(Communicator& communicator) : communicator_(communicator) {}

  void exchange(std::span<const Send> sends, std::span<const Receive> receives, void* stream) override {
    queue(stream, [this, out = std::vector(sends.begin(), sends.end()), in = std::vector(receives.begin(), receives.end())] {
      communicator_.exchange(out, in, "test");
    });
  }
  void reduce_scatter(const float* in, float* out, std::span<const Range> chunks, void* stream) override {
    queue(stream, [=, this, offsets = offsets_of(chunks)] { communicator_.fast_reduce_scatter(in, out, offsets, "test"); });
  }
  void all_gather(float* data, std::span<const Range> chunks, void* stream) override {
    queue(stream, [=, this, offsets = offsets_of(chunks)] { communicator_.fast_all_gather(data, offsets, "test"); });
  }

 private:
  static void queue(void* stream, std::function<void()> work) {
    const auto* on = static_cast<CUstream_st*>(stream);
    static_cast<EmulatedDevice*>(on->device)->queue(on->kind, std::move(work));
  }
  static std::vector<std::size_t> offsets_of(std::span<const Range> chunks) {
    std::vector<std::size_t> out{0};
    for (const Range& chunk : chunks) out.push_back(static_cast<std::size_t>(chunk.end));
    return out;
  }

  Communicator& communicator_;
};

TEST(ExchangeCuda, HasTheBitsOfTheCpuKernels) {
  for (std::uint32_t seed = 0; seed < 100; ++seed) {
    const Split split = random_split(seed);
    SCOPED_TRACE(text("seed ", seed, ": ", split.world, " ranks, ", split.microbatches, " microbatches"));
    run_world(split.world, [&](std::unique_ptr<Communicator> communicator) {
      EmulatedDevice gpu;
      ExchangeMarks marks(gpu);
      LocalTransport transport(*communicator);
      KernelRegistry cuda, cpu;
      register_exchange_cuda(cuda, transport, marks);
      register_exchange_cpu(cpu, *communicator);
      CpuDevice host;
      for (const ExchangeKind kind : {ExchangeKind::kTreeReduce, ExchangeKind::kGatherState, ExchangeKind::kTreeAllReduce,
                                      ExchangeKind::kAllGather, ExchangeKind::kFastGatherState, ExchangeKind::kFastReduce}) {
        const auto one = exchange_case(kind, split, communicator->rank());
        const auto expected = testing::run_exchange(cpu, host, one);
        ASSERT_TRUE(testing::same_bits(testing::run_exchange(cuda, gpu, one), expected)) << one.op->to_string();
      }
    }, 60, split.nodes);
  }
}

TEST(ExchangeCuda, IsRecorded) {
  const Split split{.microbatches = 8, .elements = 1000, .world = 3, .nodes = {0, 0, 0}, .chunks = {{0, 333}, {333, 700}, {700, 1000}}};
  run_world(split.world, [&](std::unique_ptr<Communicator> communicator) {
    EmulatedDevice gpu;
    ExchangeMarks marks(gpu);
    LocalTransport transport(*communicator);
    KernelRegistry cuda, cpu;
    register_exchange_cuda(cuda, transport, marks);
    register_exchange_cpu(cpu, *communicator);
    CpuDevice host;
    const auto one = exchange_case(ExchangeKind::kTreeReduce, split, communicator->rank());
    testing::BoundExchange bound(cuda, gpu, one);
    EXPECT_FALSE(bound.kernel().on_host);
    const auto recording = gpu.record([&] { bound.launch(StreamKind::kCompute); });
    for (int again = 0; again < 3; ++again) recording->launch();
    EXPECT_TRUE(testing::same_bits(bound.result(), testing::run_exchange(cpu, host, one)));
  });
}

// ---- The sum alone -------------------------------------------------------------------------------

// A world of one sums its own parts: inputs that begin anywhere.
std::vector<float> sum_of(std::int64_t microbatches, std::int64_t count, std::int64_t own_begin, std::int64_t result_begin) {
  EmulatedDevice gpu;
  const ExchangePlan plan{microbatches, 0, {0}, {{own_begin, own_begin + count}}};
  FlatExchange flat = flat_tree_reduce(plan);
  flat.sum.result.begin = result_begin;
  std::vector<Memory> memory;
  std::vector<void*> inputs;
  for (const std::vector<float>& values : testing::parts_of_rank(plan, own_begin + count)) {
    memory.push_back(gpu.allocate(values.size() * sizeof(float)));
    gpu.copy_in(memory.back().data(), values.data(), values.size() * sizeof(float));
    inputs.push_back(memory.back().data());
  }
  const Memory result = gpu.allocate(static_cast<std::size_t>(result_begin + count) * sizeof(float));
  void* outputs[] = {result.data()};
  TreeSumKernel(flat.sum).run({inputs.data(), outputs, nullptr, gpu.stream(StreamKind::kCompute)});
  std::vector<float> out(static_cast<std::size_t>(count));
  gpu.copy_out(out.data(), static_cast<float*>(result.data()) + result_begin, out.size() * sizeof(float));
  return out;
}

TEST(TreeSum, OfAnyNumberOfElementsAtAnyPlace) {
  for (const std::int64_t microbatches : {1, 2, 7, 15, 255, 4095, 65535}) {  // up to 16 parts
    for (const std::int64_t count : {1, 3, 4, 5, 511, 512, 514, 1029}) {
      if (microbatches > 4096 && count > 5) continue;  // the sum by its definition takes long
      for (const auto& [own, to] : {std::pair(0, 0), std::pair(4, 0), std::pair(1, 0), std::pair(3, 3), std::pair(0, 2)}) {
        const auto sum = sum_of(microbatches, count, own, to);
        for (std::int64_t i = 0; i < count; ++i) {
          const float expected = testing::tree_sum(tree_root(microbatches), microbatches, own + i);
          ASSERT_EQ(sum[static_cast<std::size_t>(i)], expected) << microbatches << ' ' << count << ' ' << own << ' ' << to;
        }
      }
    }
  }
}

TEST(TreeSum, OfNothingLaunchesNothing) { EXPECT_TRUE(sum_of(3, 0, 0, 0).empty()); }

TEST(TreeSum, RefusesMorePartsThanItTakes) {
  FlatSum sum{.before = 4000, .own = 1, .count = 1};
  for (int i = 1; i <= 4000; ++i) sum.sums.push_back({0, i});
  EXPECT_THROW(TreeSumKernel{sum}, Error);
}

// ---- Marks -----------------------------------------------------------------------------------------

TEST(ExchangeMarks, TellTheLastExchangeAndItsAge) {
  EmulatedDevice gpu;
  ExchangeMarks marks(gpu);
  const std::uint32_t reduce = marks.number_of("reduce"), gather = marks.number_of("gather");
  EXPECT_EQ(marks.number_of("reduce"), reduce);
  EXPECT_EQ(marks.last(1'000'000'000).what, nullptr);
  const Launch on{nullptr, nullptr, nullptr, gpu.stream(StreamKind::kCommunication)};
  marks.mark(on, reduce);
  EXPECT_EQ(marks.last(2'000'000'000).what, nullptr);  // its turn has not come
  gpu.synchronize();
  EXPECT_STREQ(marks.last(3'000'000'000).what, "reduce");
  EXPECT_EQ(marks.last(5'000'000'000).seconds, 2);
  marks.mark(on, reduce);
  gpu.synchronize();
  EXPECT_EQ(marks.last(6'000'000'000).seconds, 0);  // that of the next step
  marks.mark(on, gather);
  gpu.synchronize();
  EXPECT_STREQ(marks.last(7'000'000'000).what, "gather");
}

}  // namespace
}  // namespace lockstep
