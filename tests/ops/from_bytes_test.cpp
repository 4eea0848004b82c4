// Bytes as numbers: the same bits as the loader's own conversion.
#include "ops/from_bytes/from_bytes.h"

#include <gtest/gtest.h>

#include <numeric>

#include "core/base/error.h"
#include "ops/register.h"
#include "tests/core/run_graph.h"

namespace lockstep::testing {
namespace {

std::vector<double> converted(const Shape& shape, const std::vector<double>& bytes, const std::vector<double>& shift,
                              const std::vector<double>& scale, int threads = 1) {
  Graph graph;
  const ValueId x = graph.input("x", {DType::kU8, shape, nullptr});
  graph.output("y", from_bytes(graph, x, shift, scale));
  KernelRegistry registry;
  register_cpu_kernels(registry);
  CpuDevice device(threads);
  return run_graph(graph, registry, device, {{"x", bytes}})["y"];
}

TEST(FromBytes, OneShiftAndScaleForAll) {
  std::vector<double> bytes(256), expected;
  std::iota(bytes.begin(), bytes.end(), 0.0);
  for (const double b : bytes) expected.push_back(static_cast<float>((b - 33.3) * 0.017));
  EXPECT_EQ(converted({16, 16}, bytes, {33.3}, {0.017}), expected);
  EXPECT_EQ(converted({256}, bytes, {}, {}), bytes);
  EXPECT_TRUE(converted({0, 5}, {}, {}, {}).empty());
  EXPECT_EQ(converted({1}, {7}, {}, {}), std::vector<double>{7});
}

TEST(FromBytes, OneForEachChannelWithAnyThreads) {
  const std::int64_t rows = 70001;
  std::vector<double> bytes, expected;
  const std::vector<double> shift = {1, 2.5, 100}, scale = {0.5, 3, 0.01};
  for (std::int64_t i = 0; i < rows * 3; ++i) {
    bytes.push_back(static_cast<double>(i * 7 % 256));
    expected.push_back(static_cast<float>((bytes.back() - shift[i % 3]) * scale[i % 3]));
  }
  EXPECT_EQ(converted({rows, 3}, bytes, shift, scale, 1), expected);
  EXPECT_EQ(converted({rows, 3}, bytes, shift, scale, 3), expected);
}

TEST(FromBytes, RefusesWhatIsNotBytesOrHasOtherChannels) {
  Graph graph;
  const auto refusal = [&](DType dtype, const Shape& shape, std::size_t features) {
    try {
      from_bytes(graph, graph.input("x" + std::to_string(graph.values().size()), {dtype, shape, nullptr}),
                 std::vector<double>(features), std::vector<double>(features, 1.0), "pixels");
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  EXPECT_EQ(refusal(DType::kF32, {2, 3}, 1), "pixels (from_bytes): input is f32(2, 3), expected u8");
  EXPECT_EQ(refusal(DType::kU8, {2, 4}, 3), "pixels (from_bytes): input (2, 4) has not 3 entries on its last axis");
  EXPECT_EQ(refusal(DType::kU8, {2, 3}, 3), "");
}

}  // namespace
}  // namespace lockstep::testing
