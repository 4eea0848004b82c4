// The activations as layers: by kind, by name, and from settings.
#include "ops/layers/activation.h"

#include <gtest/gtest.h>

#include "tests/ops/layers/layer_testing.h"

namespace lockstep::testing {
namespace {

// The nodes that a layer called "act" adds for x f32(2, 3).
std::string nodes_of(const LayerPtr& layer) {
  return build_layer(layer, {{DType::kF32, {2, 3}}}, "act").graph.to_string();
}

std::string made(const std::string& type, const Keys& keys = {}) {
  return nodes_of(layer_from_settings(type, keys));
}

std::string expected(const std::string& op) {
  return "%0 f32(2, 3) = input \"x0\"\n%1 f32(2, 3) = " + op + "(%0) \"act\"\n";
}

TEST(ActivationLayers, AddTheirOp) {
  EXPECT_EQ(made("relu"), expected("relu"));
  EXPECT_EQ(made("leaky_relu"), expected("leaky_relu[negative_slope=0.3]"));
  EXPECT_EQ(made("leaky_relu", {{"negative_slope", 0.01}}),
            expected("leaky_relu[negative_slope=0.01]"));
  EXPECT_EQ(made("sigmoid"), expected("sigmoid"));
  EXPECT_EQ(made("tanh"), expected("tanh"));
  EXPECT_EQ(made("gelu"), expected("gelu"));
  EXPECT_EQ(made("gelu", {{"approximate", true}}), expected("gelu[approximate=true]"));
  EXPECT_EQ(made("softmax"), expected("softmax[axis=-1]"));
  EXPECT_EQ(made("softmax", {{"axis", std::int64_t{1}}}), expected("softmax[axis=1]"));
}

TEST(ActivationLayers, TakeTheActivationByName) {
  for (const std::string& name : activation_names()) {
    const std::string nodes = made("activation", {{"activation", name}});
    if (name == "linear") {
      EXPECT_EQ(nodes, "%0 f32(2, 3) = input \"x0\"\n");
    } else {
      EXPECT_EQ(nodes, made(name)) << name;
    }
  }
  EXPECT_EQ(nodes_of(activation({.activation = "tanh"})), expected("tanh"));
}

TEST(ActivationLayers, NameTheNearestActivation) {
  EXPECT_EQ(message_of([] { activation({.activation = "rellu"}); }),
            "activation: \"rellu\" is not an activation; did you mean \"relu\"?");
  EXPECT_EQ(
      message_of([] { activation({.activation = "cosine"}); }),
      "activation: \"cosine\" is not an activation; valid: linear, relu, leaky_relu, sigmoid, "
      "tanh, gelu, softmax");
  EXPECT_EQ(message_of([] {
              made("activation", {{"activation", std::string("gelo")}});
            }),
            "train.toml:5: layer[0].activation: \"gelo\" is not known; did you mean \"gelu\"?; "
            "valid: \"linear\", \"relu\", \"leaky_relu\", \"sigmoid\", \"tanh\", \"gelu\", "
            "\"softmax\"");
  EXPECT_EQ(message_of([] { made("activation"); }),
            "train.toml:3: layer[0].activation: missing; expected a text");
  EXPECT_EQ(message_of([] {
              made("leaky_relu", {{"negative_slope", -0.5}});
            }),
            "train.toml:5: layer[0].negative_slope: is -0.5, expected 0 or more");
}

}  // namespace
}  // namespace lockstep::testing
