// Dropout: the mask is the documented function of seed, stream, step, sample and element.
#include "ops/dropout/dropout.h"

#include <gtest/gtest.h>

#include "core/base/error.h"
#include "core/base/random_words.h"
#include "tests/core/run_graph.h"
#include "tests/ops/op_test.h"
#include "tests/test_device.h"

namespace lockstep::testing {
namespace {

constexpr std::uint64_t kSeed = 0x123456789abcdefull;

// What the header promises, one element at a time.
Tensors reference(double rate, std::uint32_t stream, const Tensors& in) {
  const RandomStream random(kSeed, Purpose::kDropout, stream);
  const auto scale = static_cast<double>(static_cast<float>(1.0 / (1.0 - rate)));
  Tensors out = {in[0]};
  const std::size_t batch = in[2].size();
  for (std::size_t i = 0; i < in[0].size(); ++i) {
    const std::size_t elements = in[0].size() / batch;
    const auto step = static_cast<std::uint32_t>(in[1][0]);
    const auto sample = static_cast<std::uint32_t>(in[2][i / elements]);
    const bool kept = random.uniform(step, sample, i % elements) >= rate;
    out[0][i] = kept ? in[0][i] * scale : 0.0;
  }
  return out;
}

OpCase case_of(double rate, const Shape& shape) {
  OpCase out = {.name = text("rate ", rate, " ", shape),
                .op = std::make_shared<DropoutOp>(rate, kSeed, 11),
                .inputs = {{DType::kF32, shape}, {DType::kI64, {}}, {DType::kI64, {shape[0]}}},
                .reference = [=](const Tensors& in) { return reference(rate, 11, in); },
                .integer_bound = 100000,
                .gradient = shape.elements() < 1000};  // else slow
  return out;
}

TEST(Dropout, AgreesWithItsDefinition) {
  check_ops({case_of(0.5, {1, 9}), case_of(0.5, {3, 5, 7}), case_of(0.1, {2, 64}),
             case_of(0.9, {2, 300}), case_of(0.0, {4, 3}), case_of(0.25, {40}),
             case_of(0.5, {0, 5}), case_of(0.5, {3, 0}), case_of(0.3, {2, 9001}), case_of(0.3, {7, 4, 12}),
             case_of(0.6, {5, 1000}), case_of(1 - 0x1p-30, {2, 600})});
}

TEST(Dropout, ASampleHasItsMaskInAnyBatch) {
  auto run = [&](const std::vector<double>& samples, const KernelRegistry& registry, Device& device) {
    Graph graph;
    const auto batch = static_cast<std::int64_t>(samples.size());
    const ValueId x = graph.input("x", {DType::kF32, {batch, 20000}});
    const DropoutSource source{.step = graph.input("step", {DType::kI64, {}}),
                               .sample = graph.input("sample", {DType::kI64, {batch}}),
                               .seed = kSeed,
                               .stream = 3};
    graph.output("y", dropout(graph, x, 0.5, source));
    return run_graph(
        graph, registry, device,
        {{"x", std::vector<double>(batch * 20000, 1.0)}, {"step", {12}}, {"sample", samples}})["y"];
  };
  const auto alone = run({42}, test_registry(), test_device());
  const auto together = run({7, 42, 8}, test_registry(), test_device());
  EXPECT_TRUE(std::equal(alone.begin(), alone.end(), together.begin() + 20000));
  EXPECT_FALSE(std::equal(alone.begin(), alone.end(), together.begin()));
  KernelRegistry of_cpu;
  register_dropout_cpu(of_cpu);
  CpuDevice three(3);
  EXPECT_EQ(together, run({7, 42, 8}, of_cpu, three));
}

TEST(Dropout, ComputesInPlaceAndInUnalignedMemory) {
  const DropoutOp op(0.4, kSeed, 5);
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    for (const Shape& shape : {Shape{3, 4000}, Shape{7, 333}}) {
      const OpRun alone{{{dtype, shape}, {DType::kI64, {}}, {DType::kI64, {shape[0]}}}, {{dtype, shape}}};
      Tensors values = {{}, {17}, {}};
      for (std::int64_t i = 0; i < shape.elements(); ++i) values[0].push_back(static_cast<double>(i % 100) - 50);
      for (std::int64_t i = 0; i < shape[0]; ++i) values[2].push_back(static_cast<double>(1000 - i));
      const OpRun in_place{alone.inputs, alone.outputs, true}, unaligned{alone.inputs, alone.outputs, false, 8};
      const Tensors expected = run_op(op, alone, test_registry(), test_device(), values);
      EXPECT_EQ(run_op(op, in_place, test_registry(), test_device(), values), expected);
      EXPECT_EQ(run_op(op, unaligned, test_registry(), test_device(), values), expected);
    }
  }
}

TEST(Dropout, KeepsTheShareThatItSays) {
  for (const double rate : {0.1, 0.5, 0.8}) {
    Tensors in = {std::vector<double>(100000, 1.0), {5}, {}};
    for (int i = 0; i < 10; ++i) in[2].push_back(i);
    double sum = 0;
    const Tensors out = reference(rate, 3, in);
    for (const double value : out[0]) sum += value;
    EXPECT_NEAR(sum / 100000, 1.0, 0.02) << rate;
  }
}

TEST(Dropout, RandomWordsAreThoseOfTheStream) {
  const RandomStream random(kSeed, Purpose::kAugment, 77);
  std::uint32_t words[kRandomWords];
  for (const std::uint32_t first : {0u, 5u, 0xfffffffau}) {  // the last wraps round
    random_words(random, 9, 1234567890, first, words);
    for (int i = 0; i < kRandomWords; ++i) {
      EXPECT_EQ(words[i], random.block(9, 1234567890, first + i / 4)[i % 4]);
    }
  }
}

TEST(Dropout, RefusesWhatItCannotDo) {
  for (const double rate : {-0.1, 1.0, 2.0}) EXPECT_THROW(DropoutOp(rate, 1, 1), Error) << rate;
  Graph graph;
  const ValueId x = graph.input("x", {DType::kF32, {4, 3}});
  const DropoutSource source{.step = graph.input("step", {DType::kI64, {}}),
                             .sample = graph.input("sample", {DType::kI64, {5}})};
  try {
    dropout(graph, x, 0.5, source, "drop");
    FAIL() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "drop (dropout): sample is i64(5), expected i64(4)");
  }
}

}  // namespace
}  // namespace lockstep::testing
