#include "ops/pool2d/pool2d.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "core/base/error.h"
#include "core/kernel/onednn_kernel.h"
#include "core/passes/autodiff.h"
#include "core/passes/eliminate_dead.h"
#include "tests/core/run_graph.h"
#include "tests/ops/op_test.h"
#include "tests/test_device.h"

namespace lockstep {
namespace {

using namespace testing;

struct PoolingShape {
  const char* name;
  std::int64_t batch, height, width, channels;
  Window2d window;
};

std::vector<PoolingShape> shapes() {
  const Padding2d valid{}, same{PaddingKind::kSame, {0, 0}}, one{PaddingKind::kExplicit, {1, 1}};
  return {{"one pixel", 1, 1, 1, 1, {{1, 1}, {1, 1}, {1, 1}, valid}},
          {"halves", 2, 4, 6, 3, {{2, 2}, {2, 2}, {1, 1}, valid}},
          {"odd rest is dropped", 1, 5, 7, 2, {{2, 2}, {2, 2}, {1, 1}, valid}},
          {"same", 2, 5, 5, 3, {{2, 2}, {2, 2}, {1, 1}, same}},
          {"overlapping", 1, 6, 6, 5, {{3, 3}, {2, 2}, {1, 1}, one}},
          {"stride 1", 1, 4, 4, 2, {{3, 2}, {1, 1}, {1, 1}, same}},
          {"gaps between the windows", 2, 7, 8, 9, {{2, 2}, {3, 3}, {1, 1}, valid}},
          {"dilation", 1, 7, 7, 2, {{2, 3}, {2, 2}, {2, 2}, valid}},
          {"three by three, inside", 1, 6, 6, 17, {{3, 3}, {3, 3}, {1, 1}, valid}},
          {"many channels", 1, 4, 4, 70, {{2, 2}, {2, 2}, {1, 1}, valid}},
          {"no samples", 0, 4, 4, 3, {{2, 2}, {2, 2}, {1, 1}, valid}}};
}

// Calls body(output index, input index or -1, position) for each element of each window.
template <typename Body>
void for_windows(const PoolingShape& s, const Body& body) {
  const std::int64_t oh = s.window.output(0, s.height), ow = s.window.output(1, s.width);
  for (std::int64_t n = 0; n < s.batch; ++n)
    for (std::int64_t i = 0; i < oh; ++i)
      for (std::int64_t j = 0; j < ow; ++j)
        for (std::int64_t c = 0; c < s.channels; ++c)
          for (std::int64_t a = 0; a < s.window.size[0]; ++a)
            for (std::int64_t b = 0; b < s.window.size[1]; ++b) {
              const std::int64_t h = i * s.window.strides[0] -
                                     s.window.padding_before(0, s.height) +
                                     a * s.window.dilation[0];
              const std::int64_t w = j * s.window.strides[1] - s.window.padding_before(1, s.width) +
                                     b * s.window.dilation[1];
              if (h < 0 || w < 0 || h >= s.height || w >= s.width) continue;
              body(((n * oh + i) * ow + j) * s.channels + c,
                   ((n * s.height + h) * s.width + w) * s.channels + c, a * s.window.size[1] + b);
            }
}

std::int64_t outputs_of(const PoolingShape& s) {
  return s.batch * s.window.output(0, s.height) * s.window.output(1, s.width) * s.channels;
}

// Distinct values, so that the maximum is one element and small differences do not move it.
std::vector<double> distinct(std::int64_t count) {
  std::vector<double> out(count);
  for (std::int64_t i = 0; i < count; ++i)
    out[i] = static_cast<double>((i * 101) % 251 - 125) / 128.0;
  return out;
}

std::vector<OpCase> cases(bool maximum) {
  std::vector<OpCase> out;
  for (const PoolingShape& s : shapes()) {
    OpCase c;
    c.name = s.name;
    c.inputs = {{DType::kF32, {s.batch, s.height, s.width, s.channels}, nullptr}};
    c.reduction_length = 9;
    c.difference_step = 1e-4;
    if (maximum) {
      c.op = std::make_shared<MaxPool2dOp>(s.window);
      c.values = {distinct(s.batch * s.height * s.width * s.channels)};
      c.reference = [s](const Tensors& t) {
        std::vector<double> y(outputs_of(s), -std::numeric_limits<double>::infinity()),
            position(y.size(), 0);
        for_windows(s, [&](std::int64_t to, std::int64_t from, std::int64_t at) {
          if (t[0][from] <= y[to]) return;
          y[to] = t[0][from];
          position[to] = static_cast<double>(at);
        });
        return Tensors{y, position};
      };
    } else {
      c.op = std::make_shared<AveragePool2dOp>(s.window);
      c.reference = [s](const Tensors& t) {
        std::vector<double> y(outputs_of(s), 0), count(y.size(), 0);
        for_windows(s, [&](std::int64_t to, std::int64_t from, std::int64_t) {
          y[to] += t[0][from];
          count[to] += 1;
        });
        for (std::size_t i = 0; i < y.size(); ++i) y[i] /= count[i];
        return Tensors{y};
      };
    }
    out.push_back(std::move(c));
  }
  return out;
}

TEST(MaxPool2d, AgreesWithNaiveLoops) {
  check_ops(cases(true));
}

TEST(AveragePool2d, AgreesWithNaiveLoops) {
  check_ops(cases(false));
}

// The layout of oneDNN, on the CPU alone.
TEST(MaxPool2d, BlockedChannelsGiveTheSame) {
  const Window2d window{{2, 2}, {2, 2}, {1, 1}, {}};
  const MaxPool2dOp op(window);
  CpuDevice device;
  KernelRegistry registry;
  register_pool2d_cpu(registry);
  const Shape x{1, 2, 2, 20}, y{1, 1, 1, 20};  // the second block of 16 is filled up
  const TensorType blocked_x{DType::kF32, x, onednn::channel_blocked_layout(DType::kF32, x, 16)};
  const std::vector<TensorType> inputs{blocked_x};
  const std::vector<TensorType> outputs{
      {DType::kF32, y, onednn::channel_blocked_layout(DType::kF32, y, 16)},
      {DType::kU8, y, onednn::channel_blocked_layout(DType::kU8, y, 16)}};
  const Kernel kernel = registry.make({op, inputs, outputs, device});
  std::vector<float> data(2 * 4 * 16), result(2 * 16);
  std::vector<std::uint8_t> positions(2 * 16);
  for (int c = 0; c < 20; ++c)
    data[c / 16 * 64 + (c % 4) * 16 + c % 16] = static_cast<float>(c + 1);
  void* in[] = {data.data()};
  void* out[] = {result.data(), positions.data()};
  kernel.run({in, out, nullptr, nullptr});
  for (int c = 0; c < 20; ++c) {
    EXPECT_EQ(result[c / 16 * 16 + c % 16], static_cast<float>(c + 1));
    EXPECT_EQ(positions[c / 16 * 16 + c % 16], c % 4);
  }
}

TEST(MaxPool2d, NanIsTheMaximum) {
  Graph graph;
  const ValueId x = graph.input("x", {DType::kF32, {1, 2, 2, 1}, nullptr});
  graph.output("y", max_pool2d(graph, x, {{2, 2}, {2, 2}, {1, 1}, {}}));
  const auto result = run_graph(graph, test_registry(), test_device(), {{"x", {1, std::nan(""), 3, 2}}});
  EXPECT_TRUE(std::isnan(result.at("y")[0]));
}

// The first element inside the image is the maximum of nothing but -infinity: its gradient is not lost.
TEST(MaxPool2d, PositionsLieInsideTheImage) {
  const double infinity = std::numeric_limits<double>::infinity();
  const Window2d window{{3, 3}, {2, 2}, {1, 1}, {PaddingKind::kExplicit, {1, 1}}};
  const TensorType x{DType::kF32, {1, 4, 4, 8}}, y{DType::kF32, {1, 2, 2, 8}}, positions{DType::kU8, y.shape};
  const auto found = run_op(MaxPool2dOp(window), {{x}, {y, positions}}, test_registry(), test_device(),
                            {std::vector<double>(128, -infinity)});
  const std::vector<double> expected{4, 3, 1, 0};
  for (std::size_t i = 0; i < 32; ++i) {
    EXPECT_EQ(found[0][i], -infinity);
    EXPECT_EQ(found[1][i], expected[i / 8]) << i;
  }
}

// Positions as on the CPU where some are NaN or infinite, or equal; channels by themselves and side by side.
TEST(MaxPool2d, PositionsAreThoseOfTheCpu) {
  KernelRegistry of_cpu;
  register_pool2d_cpu(of_cpu);
  const double nan = std::nan(""), infinity = std::numeric_limits<double>::infinity();
  const std::vector<double> some{nan, 0.0, -0.0, infinity, -infinity, 1.0, -1.0, nan, 1.0, -infinity, 2.0};
  for (const std::int64_t size : {2, 3}) {
    for (const DType dtype : {DType::kF32, DType::kBF16}) {
      for (const std::int64_t channels : {3, 16}) {
        SCOPED_TRACE(text(name_of(dtype), " ", size, " ", channels, " channels"));
        const Window2d window{{size, size}, {2, 2}, {1, 1}, {PaddingKind::kExplicit, {1, 1}}};
        const TensorType x{dtype, {1, 7, 8, channels}}, y = MaxPool2dOp(window).infer(std::vector{x})[0];
        std::vector<double> values(x.elements());
        for (std::size_t i = 0; i < values.size(); ++i) values[i] = some[i * i % 1009 % some.size()];
        const OpRun run{{x}, {y, {DType::kU8, y.shape}}};
        CpuDevice cpu;
        const Tensors expected = run_op(MaxPool2dOp(window), run, of_cpu, cpu, {values});
        const Tensors found = run_op(MaxPool2dOp(window), run, test_registry(), test_device(), {values});
        EXPECT_EQ(found[1], expected[1]);
        for (std::size_t i = 0; i < expected[0].size(); ++i) {
          EXPECT_TRUE(found[0][i] == expected[0][i] || (std::isnan(found[0][i]) && std::isnan(expected[0][i]))) << i;
        }
      }
    }
  }
}

// Channels that are loaded side by side and such that are not; in memory that is not aligned as well.
TEST(Pooling, AgreesWithTheCpuHoweverItIsCut) {
  KernelRegistry of_cpu;
  register_pool2d_cpu(of_cpu);
  const Padding2d same{PaddingKind::kSame, {0, 0}}, one{PaddingKind::kExplicit, {1, 1}};
  const std::vector<Window2d> windows{{{2, 2}, {2, 2}, {1, 1}, {}},  {{3, 3}, {2, 2}, {1, 1}, one}, {{3, 3}, {3, 3}, {1, 1}, {}},
                                      {{2, 2}, {2, 2}, {1, 1}, one}, {{3, 3}, {2, 2}, {1, 1}, {}},  {{3, 3}, {2, 2}, {1, 1}, same},
                                      {{3, 3}, {1, 1}, {1, 1}, same}, {{2, 5}, {1, 2}, {1, 1}, {}},  {{2, 2}, {2, 2}, {2, 3}, same},
                                      {{7, 8}, {7, 8}, {1, 1}, {}},  {{2, 2}, {3, 4}, {1, 1}, {}},  {{4, 3}, {1, 1}, {2, 1}, {}}};
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    for (const Window2d& window : windows) {
      for (const std::int64_t channels : {3, 16, 264}) {
        SCOPED_TRACE(text(name_of(dtype), " ", window.to_string(true), " ", channels, " channels"));
        const TensorType x{dtype, {2, 9, 10, channels}};
        const TensorType y = AveragePool2dOp(window).infer(std::vector{x})[0], positions{DType::kU8, y.shape};
        const auto compare = [&](const Op& op, OpRun run, const Tensors& values) -> Tensors {
          CpuDevice cpu;
          const Tensors expected = run_op(op, run, of_cpu, cpu, values);
          const Tensors found = run_op(op, run, test_registry(), test_device(), values);
          for (std::size_t j = 0; j < expected.size(); ++j) {
            for (std::size_t i = 0; i < expected[j].size(); ++i) {
              EXPECT_NEAR(found[j][i], expected[j][i], tolerance(dtype, 1) * (0.1 + std::abs(expected[j][i]))) << i;
            }
          }
          run.offset = 4;
          EXPECT_EQ(run_op(op, run, test_registry(), test_device(), values), found);
          return found;
        };
        const auto values = distinct(x.elements()), dy = distinct(y.elements());
        const Tensors maxima = compare(MaxPool2dOp(window), {{x}, {y, positions}}, {values});
        compare(AveragePool2dOp(window), {{x}, {y}}, {values});
        const MaxPool2dBackwardOp backward(window, 9, 10);
        compare(backward, {{y, positions}, {x}}, {dy, maxima[1]});
        compare(*backward.with_activation({ActivationKind::kTanh}), {{y, positions, y}, {x}}, {dy, maxima[1], maxima[0]});
        compare(AveragePool2dBackwardOp(window, 9, 10), {{y}, {x}}, {dy});
      }
    }
  }
}

// z -> activation -> max pooling, and the gradient of z.
Graph training(const Activation& function, const Window2d& window, DType dtype) {
  Graph graph;
  const ValueId z = graph.input("z", {dtype, {2, 6, 7, 11}});
  const ValueId y = max_pool2d(graph, activation(graph, z, function, "f"), window, "pool");
  const ValueId dy = graph.input("dy", graph.type(y));
  graph.output("dz", differentiate(graph, std::vector{y}, std::vector{dy}, std::vector{z})[0]);
  return graph;
}

TEST(PoolingFusion, GradientOfTheActivationIsFusedAndValuesStay) {
  const Window2d tiles{{2, 2}, {2, 2}, {1, 1}, {}}, overlapping{{3, 3}, {2, 2}, {1, 1}, {}};
  for (const ActivationKind kind : {ActivationKind::kRelu, ActivationKind::kLeakyRelu,
                                    ActivationKind::kSigmoid, ActivationKind::kTanh}) {
    for (const Window2d& window : {tiles, overlapping}) {
      for (const DType dtype : {DType::kF32, DType::kBF16}) {
        const Graph graph = training({kind}, window, dtype);
        const Graph fused = eliminate_dead(fuse(graph, pool2d_fusions()));
        fused.verify();
        EXPECT_EQ(fused.nodes().size() + 1, graph.nodes().size());
        std::map<std::string, std::vector<double>> feeds;
        feeds["z"] = distinct(2 * 6 * 7 * 11);
        feeds["dy"] = distinct(graph.type(graph.find_input("dy")).elements());
        const auto expected = run_graph(graph, test_registry(), test_device(), feeds).at("dz");
        const auto found = run_graph(fused, test_registry(), test_device(), feeds).at("dz");
        // bf16: the unfused gradient is rounded once more.
        const double relative = dtype == DType::kF32 ? 1e-6 : 0x1p-6;
        for (std::size_t i = 0; i < expected.size(); ++i) {
          ASSERT_NEAR(found[i], expected[i], relative * (1 + std::abs(expected[i]))) << i;
        }
      }
    }
  }
}

TEST(PoolingFusion, LeavesAloneWhatIsNoFunctionOfTheMaximum) {
  const Window2d window{{2, 2}, {2, 2}, {1, 1}, {}};
  const Graph gelus = training({ActivationKind::kGelu}, window, DType::kF32);
  EXPECT_EQ(fuse(gelus, pool2d_fusions()).to_string(), gelus.to_string());

  // The activation is also read past the pooling: its gradient has another part.
  Graph graph;
  const ValueId z = graph.input("z", {DType::kF32, {1, 4, 4, 2}});
  const ValueId x = relu(graph, z, "relu");
  const ValueId y = max_pool2d(graph, x, window, "pool");
  const ValueId dy = graph.input("dy", graph.type(y)), dx = graph.input("dx", graph.type(x));
  graph.output("dz",
               differentiate(graph, std::vector{y, x}, std::vector{dy, dx}, std::vector{z})[0]);
  EXPECT_EQ(fuse(graph, pool2d_fusions()).to_string(), graph.to_string());
}

TEST(MaxPool2d, WindowLargerThanTheImageIsRefused) {
  Graph graph;
  const ValueId x = graph.input("x", {DType::kF32, {1, 2, 2, 1}, nullptr});
  EXPECT_THROW(max_pool2d(graph, x, {{3, 3}, {1, 1}, {1, 1}, {}}), Error);
}

}  // namespace
}  // namespace lockstep
