// NCCL on one GPU, in a world of one: that it connects, that its calls are recorded, and that it comes to its end. (Two ranks
// on one GPU are what it refuses.) What it carries between ranks is tested over the local communicator.
#include <gtest/gtest.h>

#include <numeric>

#include "core/device/cpu_device.h"
#include "core/device/gpu_module.h"
#include "dist/gpu_exchange.h"
#include "tests/dist/exchange_cases.h"
#include "tests/test_device.h"

namespace lockstep {
namespace {

using testing::exchange_case;
using testing::ExchangeKind;
using testing::Split;

constexpr ExchangeKind kAllKinds[] = {ExchangeKind::kTreeReduce,  ExchangeKind::kTreeAllReduce,   ExchangeKind::kAllGather,
                                      ExchangeKind::kGatherState, ExchangeKind::kFastGatherState, ExchangeKind::kFastReduce};

// Connected anew for each test.
class NcclExchange : public ::testing::Test {
 protected:
  NcclExchange() {
    std::string why;
    exchange_ = make_gpu_exchange(gpu_module_path(), *communicator_, gpu(), 60, why);
    if (exchange_ != nullptr) exchange_->register_kernels(cuda_);
    register_exchange_cpu(cpu_, *communicator_);
  }
  Device& gpu() { return testing::test_device(); }

  std::unique_ptr<Communicator> communicator_ = make_single_communicator();
  std::unique_ptr<GpuExchange> exchange_;
  KernelRegistry cuda_, cpu_;
  CpuDevice host_;
};

Split alone(std::int64_t microbatches, std::int64_t elements) {
  return {.microbatches = microbatches, .elements = elements, .world = 1, .nodes = {0}, .chunks = {{0, elements}}};
}

TEST_F(NcclExchange, SaysItsVersion) {
  ASSERT_NE(exchange_, nullptr);
  EXPECT_EQ(exchange_->library(), "NCCL " + nccl_version(gpu_module_path()));
}

TEST_F(NcclExchange, AWorldOfOneHasTheBitsOfTheCpu) {
  ASSERT_NE(exchange_, nullptr);
  for (const std::int64_t microbatches : {1, 7, 255}) {
    for (const std::int64_t elements : {1, 3, 1000, 100'003}) {
      for (const ExchangeKind kind : kAllKinds) {
        const auto one = exchange_case(kind, alone(microbatches, elements), 0);
        const auto expected = testing::run_exchange(cpu_, host_, one);
        ASSERT_TRUE(testing::same_bits(testing::run_exchange(cuda_, gpu(), one), expected)) << one.op->to_string();
      }
    }
  }
}

TEST_F(NcclExchange, IsRecorded) {
  ASSERT_NE(exchange_, nullptr);
  for (const ExchangeKind kind : kAllKinds) {
    const auto one = exchange_case(kind, alone(7, 1001), 0);
    testing::BoundExchange bound(cuda_, gpu(), one);
    bound.launch(StreamKind::kCompute);
    gpu().synchronize();
    const auto recording = gpu().record([&] { bound.launch(StreamKind::kCompute); });
    for (int again = 0; again < 3; ++again) recording->launch();
    EXPECT_TRUE(testing::same_bits(bound.result(), testing::run_exchange(cpu_, host_, one))) << one.op->to_string();
  }
}

TEST_F(NcclExchange, AllReduceOfOneIsTheSame) {
  ASSERT_NE(exchange_, nullptr);
  std::vector<float> values(1000);
  std::iota(values.begin(), values.end(), 1.0f);
  const std::size_t bytes = values.size() * sizeof(float);
  const Memory memory = gpu().allocate(bytes);
  gpu().copy_in(memory.data(), values.data(), bytes);
  exchange_->all_reduce(static_cast<float*>(memory.data()), values.size(), gpu().stream(StreamKind::kCommunication));
  std::vector<float> out(values.size());
  gpu().copy_out(out.data(), memory.data(), bytes);
  EXPECT_EQ(out, values);
}

}  // namespace
}  // namespace lockstep
