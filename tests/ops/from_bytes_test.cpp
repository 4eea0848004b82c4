// Bytes as numbers: the same bits as the loader's own conversion.
#include "ops/from_bytes/from_bytes.h"

#include <gtest/gtest.h>

#include <numeric>

#include "core/base/error.h"
#include "core/builtin/builtin.h"
#include "core/passes/eliminate_dead.h"
#include "core/passes/fuse.h"
#include "tests/core/run_graph.h"
#include "tests/test_device.h"

namespace lockstep::testing {
namespace {

Graph graph_of(const Shape& shape, const std::vector<double>& shift, const std::vector<double>& scale) {
  Graph graph;
  const ValueId x = graph.input("x", {DType::kU8, shape, nullptr});
  graph.output("y", from_bytes(graph, x, shift, scale));
  return graph;
}

std::vector<double> converted(const Shape& shape, const std::vector<double>& bytes, const std::vector<double>& shift,
                              const std::vector<double>& scale) {
  return run_graph(graph_of(shape, shift, scale), test_registry(), test_device(), {{"x", bytes}})["y"];
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

TEST(FromBytes, OneForEachChannel) {
  for (const std::int64_t channels : {2, 3, 4, 16}) {
    const std::int64_t rows = 70001;
    std::vector<double> bytes, expected, shift, scale;
    for (std::int64_t j = 0; j < channels; ++j) {
      shift.push_back(1 + 2.5 * static_cast<double>(j));
      scale.push_back(0.01 * static_cast<double>(j + 7));
    }
    for (std::int64_t i = 0; i < rows * channels; ++i) {
      bytes.push_back(static_cast<double>(i * 7 % 256));
      expected.push_back(static_cast<float>((bytes.back() - shift[i % channels]) * scale[i % channels]));
    }
    const Shape shape{rows, channels};
    EXPECT_EQ(converted(shape, bytes, shift, scale), expected) << channels;
    CpuDevice three(3);
    KernelRegistry of_cpu;
    register_from_bytes_cpu(of_cpu);
    EXPECT_EQ(run_graph(graph_of(shape, shift, scale), of_cpu, three, {{"x", bytes}})["y"], expected) << channels;
  }
}

TEST(FromBytes, BytesMayBeginAnywhere) {
  for (const DType to : {DType::kF32, DType::kBF16}) {
    const FromBytesOp op({1, 2, 3}, {0.5, 3, 0.25}, to);
    const OpRun run{{{DType::kU8, {401, 3}}}, {{to, {401, 3}}}};
    std::vector<double> bytes(1203);
    for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<double>(i * 31 % 256);
    const auto aligned = run_op(op, run, test_registry(), test_device(), {bytes});
    EXPECT_EQ(run_op(op, {run.inputs, run.outputs, false, 4}, test_registry(), test_device(), {bytes}), aligned);
  }
}

TEST(FromBytes, FusesWithTheCastToBf16) {
  for (const Shape& shape : {Shape{1, 1}, Shape{5, 3}, Shape{301, 3}, Shape{70, 16, 1}, Shape{9, 8, 16}}) {
    SCOPED_TRACE(shape.to_string());
    const auto features = static_cast<std::size_t>(shape[-1]);
    Graph graph;
    const ValueId x = graph.input("x", {DType::kU8, shape, nullptr});
    std::vector<double> shift, scale;
    for (std::size_t f = 0; f < features; ++f) {
      shift.push_back(100.3 + static_cast<double>(f));
      scale.push_back(0.017 * static_cast<double>(f + 1));
    }
    graph.output("y", cast(graph, from_bytes(graph, x, shift, scale, "numbers"), DType::kBF16, "low"));
    const Graph fused = eliminate_dead(fuse(graph, from_bytes_fusions()));
    ASSERT_EQ(fused.nodes().size(), 1u);
    std::vector<double> bytes;
    for (std::int64_t i = 0; i < shape.elements(); ++i) bytes.push_back(static_cast<double>(i * 37 % 256));
    EXPECT_EQ(run_graph(fused, test_registry(), test_device(), {{"x", bytes}}),
              run_graph(graph, test_registry(), test_device(), {{"x", bytes}}));
  }
  Graph graph;  // where the f32 is read too
  const ValueId numbers = from_bytes(graph, graph.input("x", {DType::kU8, {4}, nullptr}), {}, {});
  graph.output("y", cast(graph, numbers, DType::kBF16));
  graph.output("z", numbers);
  EXPECT_EQ(fuse(graph, from_bytes_fusions()).to_string(), graph.to_string());
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
