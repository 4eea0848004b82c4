// The layers batch_normalization and layer_normalization: parameters, statistics, and which ops
// they build.
#include <gtest/gtest.h>

#include "ops/layers/batch_normalization.h"
#include "ops/layers/layer_normalization.h"
#include "tests/ops/layers/layer_testing.h"

namespace lockstep::testing {
namespace {

const TensorType kImages{DType::kF32, {2, 5, 5, 8}};

std::vector<std::string> ops_of(const BuiltLayer& built) {
  std::vector<std::string> names;
  for (const Node& node : built.graph.nodes()) names.push_back(node.op->to_string());
  return names;
}

void expect_parameter(const ParameterSpec& spec, const std::string& name, const Shape& shape,
                      double initial) {
  EXPECT_EQ(spec.name, name);
  EXPECT_EQ(spec.shape, shape);
  EXPECT_EQ(spec.initializer.kind, "constant");
  EXPECT_EQ(spec.initializer.value, initial);
  EXPECT_FALSE(spec.decays);
}

TEST(BatchNormalizationLayer, NormalisesByTheBatchInTraining) {
  const BuiltLayer built = build_layer(batch_normalization(), {kImages}, "bn", true);
  EXPECT_EQ(ops_of(built), std::vector<std::string>{"batch_norm[epsilon=0.001]"});
  EXPECT_EQ(built.graph.type(built.output), kImages);
  ASSERT_EQ(built.parameters.size(), 2u);
  expect_parameter(built.parameters[0], "bn/gamma", {8}, 1.0);
  expect_parameter(built.parameters[1], "bn/beta", {8}, 0.0);
  ASSERT_EQ(built.statistics.size(), 2u);
  const Node& node = built.graph.node(0);
  EXPECT_EQ(built.statistics[0].name, "bn/moving_mean");
  EXPECT_EQ(built.statistics[0].initial, 0.0f);
  EXPECT_EQ(built.statistics[0].momentum, 0.99);
  EXPECT_EQ(built.statistics[0].batch_value, node.outputs[1]);
  EXPECT_EQ(built.statistics[1].name, "bn/moving_variance");
  EXPECT_EQ(built.statistics[1].initial, 1.0f);
  EXPECT_EQ(built.statistics[1].batch_value, node.outputs[2]);
}

TEST(BatchNormalizationLayer, NormalisesByTheMovingAveragesInInference) {
  const BuiltLayer built = build_layer(
      layer_from_settings("batch_normalization", {{"momentum", 0.5}, {"epsilon", 1e-5}}), {kImages},
      "bn");
  EXPECT_EQ(ops_of(built), std::vector<std::string>{"batch_norm_inference[epsilon=1e-05]"});
  ASSERT_EQ(built.statistics.size(), 2u);
  const std::vector<ValueId>& inputs = built.graph.node(0).inputs;
  EXPECT_EQ(built.graph.value(inputs[3]).name, "bn/moving_mean");
  EXPECT_EQ(built.graph.value(inputs[4]).name, "bn/moving_variance");
  EXPECT_EQ(built.statistics[0].momentum, 0.5);
  EXPECT_EQ(built.statistics[0].batch_value, kNoValue);
}

TEST(BatchNormalizationLayer, LeavesOutScaleAndOffset) {
  const BuiltLayer built =
      build_layer(layer_from_settings("batch_normalization", {{"center", false}, {"scale", false}}),
                  {kImages}, "bn", true);
  EXPECT_TRUE(built.parameters.empty());
  EXPECT_EQ(ops_of(built), (std::vector<std::string>{"fill[f32(8) value=1]", "fill[f32(8) value=0]",
                                                     "batch_norm[epsilon=0.001]"}));
}

TEST(BatchNormalizationLayer, RefusesWhatItCannotDo) {
  EXPECT_EQ(message_of([] {
              layer_from_settings("batch_normalization", {{"momentum", 1.5}});
            }),
            "train.toml:5: layer[0].momentum: is 1.5, expected 0 <= momentum <= 1");
  EXPECT_EQ(message_of([] {
              layer_from_settings("batch_normalization", {{"epsilon", 0.0}});
            }),
            "train.toml:5: layer[0].epsilon: is 0, expected a number above 0");
  EXPECT_EQ(message_of([] { batch_normalization({.momentum = -1}); }),
            "batch_normalization: momentum is -1, expected 0 <= momentum <= 1");
  EXPECT_EQ(message_of([] {
              build_layer(batch_normalization(), {{DType::kF32, {4}}}, "bn");
            }),
            "bn (batch_normalization): input (4) has no channels, expected (batch, ..., channels)");
}

TEST(LayerNormalizationLayer, NormalisesOverTheLastAxes) {
  for (const bool training : {false, true}) {
    const BuiltLayer built = build_layer(layer_normalization(), {kImages}, "ln", training);
    EXPECT_EQ(ops_of(built), std::vector<std::string>{"layer_norm[epsilon=0.001]"});
    EXPECT_EQ(built.graph.type(built.output), kImages);
    ASSERT_EQ(built.parameters.size(), 2u);
    expect_parameter(built.parameters[0], "ln/gamma", {8}, 1.0);
    expect_parameter(built.parameters[1], "ln/beta", {8}, 0.0);
    EXPECT_TRUE(built.statistics.empty());
  }
  using List = Setting::List;
  const List list{{std::int64_t{3}, ""}, {std::int64_t{-2}, ""}};
  const BuiltLayer built =
      build_layer(layer_from_settings("layer_normalization", {{"axis", list}}), {kImages}, "ln");
  EXPECT_EQ(built.parameters.at(0).shape, (Shape{5, 8}));
}

TEST(LayerNormalizationLayer, LeavesOutScaleAndOffset) {
  const BuiltLayer built =
      build_layer(layer_from_settings("layer_normalization",
                                      {{"center", false}, {"scale", false}, {"epsilon", 1e-5}}),
                  {kImages}, "ln");
  EXPECT_TRUE(built.parameters.empty());
  EXPECT_EQ(ops_of(built), (std::vector<std::string>{"fill[f32(8) value=1]", "fill[f32(8) value=0]",
                                                     "layer_norm[epsilon=1e-05]"}));
}

TEST(LayerNormalizationLayer, RefusesWhatItCannotDo) {
  auto message = [](const std::vector<std::int64_t>& axis) {
    return message_of([&] { build_layer(layer_normalization({.axis = axis}), {kImages}, "ln"); });
  };
  const std::string tail =
      " of input (2, 5, 5, 8), expected the last axis, or several that are the last ones, without "
      "the batch";
  EXPECT_EQ(message({1}), "ln (layer_normalization): axis 1" + tail);
  EXPECT_EQ(message({-1, -3}), "ln (layer_normalization): axis -1, -3" + tail);
  EXPECT_EQ(message({0, 1, 2, 3}), "ln (layer_normalization): axis 0, 1, 2, 3" + tail);
  EXPECT_EQ(message({-1, 3}), "ln (layer_normalization): axis -1, 3" + tail);
  EXPECT_EQ(message({}), "layer_normalization: axis is empty, expected one axis or more");
  EXPECT_EQ(message_of([] {
              layer_from_settings("layer_normalization", {{"epsilon", -1.0}});
            }),
            "train.toml:5: layer[0].epsilon: is -1, expected a number above 0");
}

}  // namespace
}  // namespace lockstep::testing
