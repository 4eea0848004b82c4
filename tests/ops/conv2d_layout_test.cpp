// oneDNN's layouts in a network on the CPU.
#include <gtest/gtest.h>

#include "core/builtin/builtin.h"
#include "core/builtin/reorder.h"
#include "core/device/cpu_device.h"
#include "core/passes/autodiff.h"
#include "core/passes/eliminate_dead.h"
#include "core/passes/fuse.h"
#include "core/passes/layout.h"
#include "ops/bias/bias.h"
#include "ops/conv2d/conv2d.h"
#include "ops/dense/dense.h"
#include "ops/pool2d/pool2d.h"
#include "ops/register.h"
#include "tests/core/run_graph.h"

namespace lockstep {
namespace {

using namespace testing;

using Feeds = std::map<std::string, std::vector<double>>;

struct Network {
  Graph graph;
  Feeds feeds;
};

std::vector<double> numbers(std::int64_t count, double scale) {
  std::vector<double> out(count);
  for (std::int64_t i = 0; i < count; ++i) {
    out[i] = static_cast<float>(scale * (static_cast<double>(i * 7919 % 2003) / 1001.5 - 1));
  }
  return out;
}

// Two convolutions with bias, relu and pooling, a dense layer, and the gradients of everything: a
// small Keras CNN. `channels` of 3 and 20 leave blocks of channels that are not full.
Network network(std::int64_t batch, std::int64_t channels, bool winograd) {
  Network n;
  Graph& graph = n.graph;
  std::vector<ValueId> parameters;
  auto input = [&](const std::string& name, const Shape& shape, double scale) {
    n.feeds[name] = numbers(shape.elements(), scale);
    return graph.input(name, {DType::kF32, shape});
  };
  auto parameter = [&](const std::string& name, const Shape& shape, double scale) {
    parameters.push_back(input(name, shape, scale));
    return parameters.back();
  };
  const Convolution convolution{.window = {}, .groups = 1, .winograd = winograd};
  const Window2d halves{{2, 2}, {2, 2}, {1, 1}, {}};
  auto block = [&](ValueId x, std::int64_t in, std::int64_t out, const std::string& name) {
    ValueId y = conv2d(graph, x, parameter(name + "/w", {3, 3, in, out}, 0.2), convolution, name);
    y = relu(graph, bias(graph, y, parameter(name + "/b", {out}, 0.1), name + "/bias"),
             name + "/relu");
    return max_pool2d(graph, y, halves, name + "/pool");
  };
  ValueId y = block(input("x", {batch, 18, 18, 3}, 1), 3, channels, "conv1");
  y = block(y, channels, 32, "conv2");  // (batch, 3, 3, 32)
  y = view(graph, y, {batch, 288});
  y = dense(graph, y, parameter("fc/w", {288, 10}, 0.1), "fc");
  const ValueId dy = input("dy", {batch, 10}, 1);
  const auto gradients = differentiate(graph, std::vector{y}, std::vector{dy}, parameters);
  graph.output("y", y);
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    graph.output("d" + graph.value(parameters[i]).name, gradients[i]);
  }
  return n;
}

int count(const Graph& graph, const std::string& op) {
  int n = 0;
  for (const Node& node : graph.nodes()) n += node.op->name() == op;
  return n;
}

KernelRegistry all_kernels() {
  KernelRegistry registry;
  register_cpu_kernels(registry);
  return registry;
}

void expect_equal_outputs(const Graph& expected, const Graph& found, const Feeds& feeds,
                          double tolerance) {
  const KernelRegistry registry = all_kernels();
  CpuDevice device;
  const auto left = run_graph(expected, registry, device, feeds);
  const auto right = run_graph(found, registry, device, feeds);
  ASSERT_EQ(left.size(), right.size());
  for (const auto& [name, values] : left) {
    double scale = 0;
    for (const double value : values) scale = std::max(scale, std::abs(value));
    ASSERT_GT(scale, 0) << name;
    for (std::size_t i = 0; i < values.size(); ++i) {
      ASSERT_NEAR(right.at(name)[i], values[i], tolerance * scale) << name << " " << i;
    }
  }
}

// What oneDNN asks for, with reorders between, computes what the row-major graph computes; 32
// images are enough for Winograd's method, which rounds worse.
TEST(Conv2dLayout, ChosenLayoutsGiveTheSameAsRowMajor) {
  struct Case {
    std::int64_t batch, channels;
    bool winograd;
    double tolerance;
  };
  for (const Case& c : {Case{2, 32, false, 1e-5}, Case{2, 20, false, 1e-5}, Case{1, 5, true, 1e-5},
                        Case{32, 32, true, 1e-4}}) {
    SCOPED_TRACE(c.channels);
    const Network n = network(c.batch, c.channels, c.winograd);
    const Graph fused = eliminate_dead(fuse(n.graph, fusion_patterns()));
    const KernelRegistry registry = all_kernels();
    CpuDevice device;
    const Graph placed =
        choose_layouts(fused, registry, device,
                       [](Graph& to, ValueId value, std::shared_ptr<const Layout> layout) {
                         return reorder(to, value, std::move(layout));
                       });
    placed.verify();
    EXPECT_GT(count(placed, "reorder"), 0);
    // The pooling and its gradient take the blocks as they come.
    for (const Node& node : placed.nodes()) {
      if (node.op->name() != "max_pool2d") continue;
      EXPECT_NE(placed.type(node.inputs[0]).layout, nullptr) << node.name;
      EXPECT_EQ(placed.node(placed.value(node.inputs[0]).producer).op->name(), "conv2d");
    }
    expect_equal_outputs(n.graph, placed, n.feeds, c.tolerance);
  }
}

}  // namespace
}  // namespace lockstep
