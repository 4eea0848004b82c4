#include "tests/ops/op_test.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "core/base/bfloat16.h"
#include "core/base/error.h"
#include "core/base/random.h"
#include "core/builtin/builtin.h"
#include "core/passes/autodiff.h"
#include "tests/core/run_graph.h"
#include "tests/test_device.h"

namespace lockstep::testing {
namespace {

bool contains(const std::vector<int>& list, std::size_t i) {
  return std::find(list.begin(), list.end(), static_cast<int>(i)) != list.end();
}

std::vector<TensorType> input_types(const OpCase& c, DType dtype) {
  std::vector<TensorType> types = c.inputs;
  for (std::size_t i = 0; i < types.size(); ++i) {
    if (types[i].dtype == DType::kF32 && !contains(c.keeps_f32, i)) types[i].dtype = dtype;
  }
  return types;
}

double rounded_to(double value, DType dtype) {
  if (dtype == DType::kBF16) return static_cast<float>(BFloat16(static_cast<float>(value)));
  return dtype == DType::kF32 ? static_cast<float>(value) : value;
}

Tensors random_inputs(const OpCase& c, const std::vector<TensorType>& types) {
  const RandomStream random(2026, Purpose::kSynthesize);
  Tensors out;
  for (std::size_t i = 0; i < types.size(); ++i) {
    std::vector<double> values(types[i].elements());
    for (std::size_t e = 0; e < values.size(); ++e) {
      const double u = random.uniform(7, static_cast<std::uint32_t>(i), e);
      double value = c.low + (c.high - c.low) * u;
      for (const double kink : c.keep_off) {
        const double distance = 4 * c.difference_step;
        if (std::abs(value - kink) < distance) value = kink + (u < 0.5 ? -distance : distance);
      }
      values[e] = is_floating(types[i].dtype) ? value : std::floor(u * c.integer_bound);
    }
    if (i < c.values.size() && !c.values[i].empty()) values = c.values[i];
    for (double& value : values) value = rounded_to(value, types[i].dtype);
    out.push_back(std::move(values));
  }
  return out;
}

std::map<std::string, std::vector<double>> feeds_of(const Tensors& inputs) {
  std::map<std::string, std::vector<double>> feeds;
  for (std::size_t i = 0; i < inputs.size(); ++i) feeds["x" + std::to_string(i)] = inputs[i];
  return feeds;
}

void expect_near(const std::vector<double>& expected, const std::vector<double>& found,
                 double relative, const std::string& what) {
  ASSERT_EQ(expected.size(), found.size()) << what;
  double scale = 1e-3;  // elements near zero are compared with the tensor's size in mind
  for (const double value : expected) {
    if (std::isfinite(value)) scale = std::max(scale, std::abs(value));
  }
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const double bound = relative * (std::abs(expected[i]) + 0.1 * scale);
    if (expected[i] == found[i]) continue;  // also equal infinities
    ASSERT_TRUE(std::isfinite(expected[i]) || std::isnan(expected[i])) << "expected " << expected[i] << ", found " << found[i];
    ASSERT_LE(std::abs(expected[i] - found[i]), bound)
        << what << ": element " << i << " is " << found[i] << ", expected " << expected[i];
  }
}

// x0, x1, ... and the op; with a cotangent input "d<j>" for each floating output.
struct Built {
  Graph graph;
  std::vector<ValueId> inputs, outputs;
};

Built build(const OpCase& c, const std::vector<TensorType>& types) {
  Built built;
  for (std::size_t i = 0; i < types.size(); ++i) {
    const bool overwritten = c.op->traits().overwrites(i);
    const std::string name = "x" + std::to_string(i);
    built.inputs.push_back(overwritten ? built.graph.state(name, types[i])
                                       : built.graph.input(name, types[i]));
  }
  built.outputs = built.graph.add_node(c.op, built.inputs, "op");
  for (std::size_t j = 0; j < built.outputs.size(); ++j) {
    built.graph.output("y" + std::to_string(j), built.outputs[j]);
  }
  return built;
}

void check_forward(const OpCase& c, DType dtype) {
  const std::string what = c.name + " forward " + std::string(name_of(dtype));
  const auto types = input_types(c, dtype);
  const Tensors inputs = random_inputs(c, types);
  const Built built = build(c, types);
  auto found = run_graph(built.graph, test_registry(), test_device(), feeds_of(inputs));
  const Tensors expected = c.reference(inputs);
  ASSERT_EQ(expected.size(), built.outputs.size()) << what;
  for (std::size_t j = 0; j < expected.size(); ++j) {
    const DType out = built.graph.type(built.outputs[j]).dtype;
    const DType coarse = dtype == DType::kBF16 ? DType::kBF16 : out;
    expect_near(expected[j], found["y" + std::to_string(j)],
                tolerance(is_floating(coarse) ? coarse : DType::kF32, c.reduction_length),
                what + " output " + std::to_string(j));
  }
}

double weighted_sum(const Tensors& outputs, const Tensors& cotangents) {
  double sum = 0;
  for (std::size_t j = 0; j < outputs.size(); ++j) {
    for (std::size_t e = 0; e < cotangents[j].size(); ++e) sum += outputs[j][e] * cotangents[j][e];
  }
  return sum;
}

std::vector<double> central_differences(const OpCase& c, Tensors inputs, std::size_t i,
                                        const Tensors& cotangents) {
  std::vector<double> out(inputs[i].size());
  for (std::size_t e = 0; e < out.size(); ++e) {
    const double at = inputs[i][e];
    inputs[i][e] = at + c.difference_step;
    const double above = weighted_sum(c.reference(inputs), cotangents);
    inputs[i][e] = at - c.difference_step;
    const double below = weighted_sum(c.reference(inputs), cotangents);
    inputs[i][e] = at;
    out[e] = (above - below) / (2 * c.difference_step);
  }
  return out;
}

void check_gradient(const OpCase& c, DType dtype) {
  const std::string what = c.name + " gradient " + std::string(name_of(dtype));
  const auto types = input_types(c, dtype);
  const Tensors inputs = random_inputs(c, types);
  Built built = build(c, types);
  auto feeds = feeds_of(inputs);
  std::vector<ValueId> outputs, cotangent_ids, floating;
  std::vector<std::size_t> floating_index;
  Tensors cotangents(built.outputs.size());
  const RandomStream random(77, Purpose::kSynthesize);
  for (std::size_t j = 0; j < built.outputs.size(); ++j) {
    const TensorType type = built.graph.type(built.outputs[j]);
    if (!is_floating(type.dtype)) continue;
    for (std::int64_t e = 0; e < type.elements(); ++e) {
      const double u = random.uniform(3, static_cast<std::uint32_t>(j), e);
      cotangents[j].push_back(rounded_to(0.25 + u, type.dtype) * (u > 0.6 ? -1 : 1));
    }
    feeds["d" + std::to_string(j)] = cotangents[j];
    cotangent_ids.push_back(built.graph.input("d" + std::to_string(j), type));
    outputs.push_back(built.outputs[j]);
  }
  for (std::size_t i = 0; i < types.size(); ++i) {
    if (!is_floating(types[i].dtype)) continue;
    floating.push_back(built.inputs[i]);
    floating_index.push_back(i);
  }
  const auto gradients = differentiate(built.graph, outputs, cotangent_ids, floating);
  for (std::size_t k = 0; k < gradients.size(); ++k) {
    const bool expect_none = contains(c.no_gradient, floating_index[k]);
    ASSERT_EQ(gradients[k] == kNoValue, expect_none) << what << " input " << floating_index[k];
    if (!expect_none) built.graph.output("g" + std::to_string(k), gradients[k]);
  }
  built.graph.verify();
  auto found = run_graph(built.graph, test_registry(), test_device(), feeds);
  for (std::size_t k = 0; k < gradients.size(); ++k) {
    if (gradients[k] == kNoValue) continue;
    const auto numeric = central_differences(c, inputs, floating_index[k], cotangents);
    const bool all_zero =
        std::all_of(numeric.begin(), numeric.end(), [](double v) { return v == 0; });
    ASSERT_FALSE(all_zero && !numeric.empty())
        << what << " input " << floating_index[k] << ": the numeric gradient is zero everywhere";
    expect_near(numeric, found["g" + std::to_string(k)],
                tolerance(dtype, c.reduction_length) * 4 + 1e-4,
                what + " input " + std::to_string(floating_index[k]));
  }
}

}  // namespace

double tolerance(DType dtype, double reduction_length) {
  const double unit = dtype == DType::kBF16 ? 0x1p-8 : 0x1p-22;
  return unit * 4 * std::sqrt(std::max(1.0, reduction_length));
}

void check_op(const OpCase& c) {
  SCOPED_TRACE(c.name);
  check_forward(c, DType::kF32);
  if (c.gradient) check_gradient(c, DType::kF32);
  if (!c.bf16) return;
  check_forward(c, DType::kBF16);
  if (c.gradient) check_gradient(c, DType::kBF16);
}

void check_ops(const std::vector<OpCase>& cases) {
  for (const OpCase& c : cases) check_op(c);
}

}  // namespace lockstep::testing
