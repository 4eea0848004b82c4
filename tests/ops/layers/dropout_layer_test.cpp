// The dropout layer: at work in training, absent in inference.
#include "ops/layers/dropout.h"

#include <gtest/gtest.h>

#include "ops/dropout/dropout.h"
#include "tests/ops/layers/layer_testing.h"

namespace lockstep::testing {
namespace {

const TensorType kType{DType::kF32, {4, 3}};

TEST(DropoutLayer, IsTheIdentityInInference) {
  const BuiltLayer built = build_layer(dropout({.rate = 0.5}), {kType});
  EXPECT_TRUE(built.graph.nodes().empty());
  EXPECT_TRUE(build_layer(dropout({.rate = 0}), {kType}, "d", true).graph.nodes().empty());
}

TEST(DropoutLayer, DrawsBySeedAndName) {
  auto op_of = [](const std::string& name) {
    const BuiltLayer built =
        build_layer(layer_from_settings("dropout", {{"rate", 0.25}}), {kType}, name, true);
    EXPECT_EQ(built.graph.nodes().size(), 1u);
    return std::dynamic_pointer_cast<const DropoutOp>(built.graph.node(0).op);
  };
  const auto first = op_of("dropout1"), second = op_of("dropout2");
  ASSERT_TRUE(first && second);
  EXPECT_EQ(first->rate(), 0.25);
  EXPECT_EQ(first->seed(), 7u);
  EXPECT_NE(first->stream(), second->stream());
  EXPECT_EQ(first->stream(), op_of("dropout1")->stream());
}

TEST(DropoutLayer, RefusesARateOutsideItsRange) {
  EXPECT_EQ(message_of([] {
              layer_from_settings("dropout", {{"rate", 1.0}});
            }),
            "train.toml:5: layer[0].rate: is 1, expected 0 <= rate < 1");
  EXPECT_EQ(message_of([] { layer_from_settings("dropout"); }),
            "train.toml:3: layer[0].rate: missing; expected a number");
  EXPECT_EQ(message_of([] { dropout({.rate = -1}); }),
            "dropout: rate is -1, expected 0 <= rate < 1");
}

}  // namespace
}  // namespace lockstep::testing
