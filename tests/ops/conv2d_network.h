// A small network of convolutions for tests of the room, with all its gradients.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "core/builtin/builtin.h"
#include "core/passes/autodiff.h"
#include "ops/bias/bias.h"
#include "ops/conv2d/conv2d.h"

namespace lockstep::testing {

using Feeds = std::map<std::string, std::vector<double>>;

struct Network {
  Graph graph;
  Feeds feeds;
};

// In [-1, 1], and exact in bf16.
inline std::vector<double> numbers(std::int64_t count, double scale = 1) {
  std::vector<double> out(static_cast<std::size_t>(count));
  for (std::int64_t i = 0; i < count; ++i) {
    out[static_cast<std::size_t>(i)] = scale * (static_cast<double>(i * 7919 % 2003 % 129) / 64 - 1);
  }
  return out;
}

// x (2, size, size, 4), a convolution with stride 2 and padding to `channels`, one without to 6; each with bias and relu.
// The weights are of type `dtype`, as are x and dy; outputs are y, dx and the gradients of weights and biases.
inline Network two_convolutions(DType dtype, std::int64_t channels, std::int64_t size, std::int64_t groups = 1) {
  Network n;
  Graph& graph = n.graph;
  std::vector<ValueId> wanted;
  const auto input = [&](const std::string& name, DType type, const Shape& shape, double scale) {
    n.feeds[name] = numbers(shape.elements(), scale);
    return graph.input(name, {type, shape});
  };
  const auto parameter = [&](const std::string& name, DType type, const Shape& shape, double scale) {
    wanted.push_back(input(name, type, shape, scale));
    return wanted.back();
  };
  const auto block = [&](ValueId x, std::int64_t in, std::int64_t out, const Convolution& convolution,
                         const std::string& name) {
    const ValueId w = parameter(name + "/w", dtype, {3, 3, in / convolution.groups, out}, 0.25);
    const ValueId y = conv2d(graph, x, w, convolution, name);
    return relu(graph, bias(graph, y, parameter(name + "/b", DType::kF32, {out}, 0.125), name + "/bias"),
                name + "/relu");
  };
  Convolution first, second;
  first.window.strides = {2, 2};
  first.window.padding.kind = PaddingKind::kSame;
  first.groups = second.groups = groups;
  const ValueId x = parameter("x", dtype, {2, size, size, 4}, 1);
  const ValueId y = block(block(x, 4, channels, first, "conv1"), channels, 6, second, "conv2");
  const ValueId dy = input("dy", dtype, graph.type(y).shape, 1);
  const auto gradients = differentiate(graph, std::vector{y}, std::vector{dy}, wanted);
  graph.output("y", y);
  for (std::size_t i = 0; i < wanted.size(); ++i) graph.output("d" + graph.value(wanted[i]).name, gradients[i]);
  return n;
}

// Each within `tolerance` of the largest expected value of its output.
inline void expect_equal_outputs(const Feeds& expected, const Feeds& found, double tolerance) {
  ASSERT_EQ(expected.size(), found.size());
  for (const auto& [name, values] : expected) {
    double scale = 0;
    for (const double value : values) scale = std::max(scale, std::abs(value));
    ASSERT_GT(scale, 0) << name;
    for (std::size_t i = 0; i < values.size(); ++i) {
      ASSERT_NEAR(found.at(name)[i], values[i], tolerance * scale) << name << " " << i;
    }
  }
}

}  // namespace lockstep::testing
