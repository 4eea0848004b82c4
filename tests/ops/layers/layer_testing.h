// Building one layer in a graph of its own, from options or from settings.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "core/base/error.h"
#include "ops/register.h"

namespace lockstep::testing {

// The message of the error that `action` throws.
template <typename Action>
std::string message_of(const Action& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "nothing was thrown";
}

struct BuiltLayer {
  Graph graph;
  ValueId output = kNoValue;
  std::vector<ParameterSpec> parameters;
  std::vector<StatisticSpec> statistics;
};

// The layer, called `name`, on inputs x0, x1, ... of the given types; training graphs also have the
// inputs step and sample.
inline BuiltLayer build_layer(const LayerPtr& layer, const std::vector<TensorType>& types,
                              const std::string& name = "layer", bool training = false) {
  BuiltLayer built;
  std::vector<ValueId> inputs;
  for (std::size_t i = 0; i < types.size(); ++i) {
    inputs.push_back(built.graph.input("x" + std::to_string(i), types[i]));
  }
  LayerContext context{.graph = built.graph,
                       .training = training,
                       .seed = 7,
                       .layer = name,
                       .parameters = {},
                       .statistics = {}};
  if (training) {
    context.step = built.graph.input("step", {DType::kI64, {}});
    context.sample = built.graph.input("sample", {DType::kI64, {types[0].shape[0]}});
  }
  built.output = layer->build(context, inputs);
  built.parameters = context.parameters;
  built.statistics = context.statistics;
  built.graph.verify();
  return built;
}

using Keys = std::vector<std::pair<std::string, decltype(Setting::value)>>;

// The layer of that type as a configuration makes it; refuses keys that the layer does not know.
// The type is at train.toml:4, the keys at lines 5, 6, ...
inline LayerPtr layer_from_settings(const std::string& type, const Keys& keys = {}) {
  LayerRegistry registry;
  register_layers(registry);
  Settings settings("layer[0]", "train.toml:3");
  settings.set("type", {type, "train.toml:4"});
  int line = 5;
  for (const auto& [key, value] : keys) {
    settings.set(key, {value, "train.toml:" + std::to_string(line++)});
  }
  LayerPtr layer = registry.make(settings);
  settings.finish();
  EXPECT_EQ(layer->kind(), type);
  return layer;
}

}  // namespace lockstep::testing
