// The exchange in one level, carried out by messages of the local communicator and additions of the host, against the
// kernels of the CPU, bit for bit.
#include "dist/flat_exchange.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "core/base/error.h"
#include "core/device/cpu_device.h"
#include "tests/dist/exchange_cases.h"
#include "tests/dist/world_of_threads.h"

namespace lockstep {
namespace {

using testing::exchange_case;
using testing::ExchangeKind;
using testing::random_split;
using testing::run_world;
using testing::Split;

void sum_on_host(const FlatSum& sum, const Launch& launch) {
  if (sum.parts() == 0) return;
  const StackProgram program = stack_program(sum.sums, sum.parts());
  float* to = sum.result.in(launch);
  for (std::int64_t i = 0; i < sum.count; ++i) {
    std::vector<float> stack;
    for (int part = 0; part < sum.parts(); ++part) {
      stack.push_back(sum.part(part).in(launch)[i]);
      for (int n = program.additions[static_cast<std::size_t>(part)]; n > 0; --n) {
        const float right = stack.back();
        stack.pop_back();
        stack.back() += right;
      }
      ASSERT_LE(static_cast<int>(stack.size()), program.depth);
    }
    ASSERT_EQ(stack.size(), 1u);
    to[i] = stack[0];
  }
}

Kernel kernel_of(const FlatExchange& flat, Communicator& communicator) {
  const auto run = [flat, &communicator](const Launch& launch) {
    std::vector<Send> sends;
    std::vector<Receive> receives;
    for (const FlatMessage& message : flat.sends) {
      sends.push_back({message.peer, message.place.in(launch), static_cast<std::size_t>(message.count) * sizeof(float)});
    }
    for (const FlatMessage& message : flat.receives) {
      receives.push_back({message.peer, message.place.in(launch), static_cast<std::size_t>(message.count) * sizeof(float)});
    }
    communicator.exchange(sends, receives, "test");
    sum_on_host(flat.sum, launch);
  };
  return {"flat", run, static_cast<std::size_t>(flat.workspace_floats) * sizeof(float)};
}

KernelRegistry flat_on_host(Communicator& communicator) {
  KernelRegistry registry;
  const auto add = [&](const char* name, auto make) {
    registry.add(name, DeviceKind::kCpu,
                 {[make, &communicator](const KernelRequest& request) { return kernel_of(make(request), communicator); }, nullptr});
  };
  add("tree_reduce", [](const KernelRequest& r) { return flat_tree_reduce(r.op_as<TreeReduceOp>().plan()); });
  add("tree_all_reduce", [](const KernelRequest& r) {
    return flat_tree_all_reduce(r.op_as<TreeAllReduceOp>().plan(), r.op_as<TreeAllReduceOp>().elements());
  });
  add("all_gather", [](const KernelRequest& r) { return flat_all_gather(r.op_as<AllGatherOp>().plan()); });
  add("gather_state", [](const KernelRequest& r) { return flat_gather_state(r.op_as<GatherStateOp>().plan()); });
  return registry;
}

TEST(FlatExchange, HasTheBitsOfTheCpuKernels) {
  for (std::uint32_t seed = 0; seed < 400; ++seed) {
    const Split split = random_split(seed);
    SCOPED_TRACE(text("seed ", seed, ": ", split.world, " ranks, ", split.microbatches, " microbatches"));
    run_world(split.world, [&](std::unique_ptr<Communicator> communicator) {
      const KernelRegistry flat = flat_on_host(*communicator);
      KernelRegistry cpu;
      register_exchange_cpu(cpu, *communicator);
      CpuDevice device;
      for (const ExchangeKind kind : testing::kExactKinds) {
        const auto one = exchange_case(kind, split, communicator->rank());
        const auto expected = testing::run_exchange(cpu, device, one);
        ASSERT_TRUE(testing::same_bits(testing::run_exchange(flat, device, one), expected)) << one.op->to_string();
      }
    }, 60, split.nodes);
  }
}

ExchangePlan plan_of(int world, std::int64_t microbatches, std::int64_t elements, int rank) {
  ExchangePlan plan{microbatches, rank, std::vector<int>(static_cast<std::size_t>(world), 0), {}};
  for (int r = 0; r < world; ++r) plan.chunks.push_back(piece_of(elements, world, r));
  return plan;
}

std::int64_t floats_in(const std::vector<FlatMessage>& messages) {
  std::int64_t sum = 0;
  for (const FlatMessage& message : messages) sum += message.count;
  return sum;
}

TEST(FlatExchange, MovesAsMuchAsARingWhereTheWorldIsAPowerOfTwo) {
  for (const int world : {2, 4, 8, 64}) {
    const std::int64_t elements = 64 * 1000;
    for (const std::int64_t microbatches : {world, 8 * world}) {
      const FlatExchange reduce = flat_tree_reduce(plan_of(world, microbatches, elements, world - 1));
      EXPECT_EQ(floats_in(reduce.sends), elements / world * (world - 1));
      EXPECT_EQ(floats_in(reduce.receives), elements / world * (world - 1));
    }
  }
}

TEST(FlatExchange, AWorldOfOneOnlySums) {
  const FlatExchange reduce = flat_tree_reduce(plan_of(1, 7, 10, 0));
  EXPECT_TRUE(reduce.sends.empty() && reduce.receives.empty());
  EXPECT_EQ(reduce.sum.parts(), 3);  // subtrees of 4, 2 and 1 microbatches
  EXPECT_EQ(reduce.sum.sums.size(), 2u);
  EXPECT_EQ(reduce.workspace_floats, 0);
}

TEST(FlatExchange, ARankWithoutMicrobatchesReceivesOnly) {
  const FlatExchange reduce = flat_tree_reduce(plan_of(3, 1, 9, 0));
  EXPECT_TRUE(reduce.sends.empty());
  ASSERT_EQ(reduce.receives.size(), 1u);
  EXPECT_EQ(reduce.receives[0].peer, 2);
  EXPECT_EQ(reduce.sum.parts(), 1);
  EXPECT_TRUE(reduce.sum.sums.empty());
}

TEST(StackProgram, AddsWhatIsOnTop) {
  const StackProgram four = stack_program({{0, 1}, {2, 3}, {0, 2}}, 4);
  EXPECT_EQ(four.additions, (std::vector<std::uint8_t>{0, 1, 0, 2}));
  EXPECT_EQ(four.depth, 3);
  EXPECT_EQ(stack_program({}, 1).depth, 1);
  EXPECT_THROW(stack_program({{0, 2}, {0, 1}}, 3), Error);
  EXPECT_THROW(stack_program({{0, 1}}, 3), Error);
}

}  // namespace
}  // namespace lockstep
