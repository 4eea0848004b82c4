#include "ops/layers/dense.h"

#include <gtest/gtest.h>

#include "tests/ops/layers/layer_testing.h"

namespace lockstep::testing {
namespace {

TEST(DenseLayer, HasKerasDefaults) {
  const BuiltLayer built = build_layer(dense({.units = 5}), {{DType::kF32, {2, 3}}}, "fc");
  EXPECT_EQ(built.graph.type(built.output).shape, (Shape{2, 5}));
  ASSERT_EQ(built.parameters.size(), 2u);
  EXPECT_EQ(built.parameters[0].name, "fc/weight");
  EXPECT_EQ(built.parameters[0].shape, (Shape{3, 5}));
  EXPECT_EQ(built.parameters[0].initializer.kind, "glorot_uniform");
  EXPECT_TRUE(built.parameters[0].decays);
  EXPECT_EQ(built.parameters[1].name, "fc/bias");
  EXPECT_EQ(built.parameters[1].shape, (Shape{5}));
  EXPECT_EQ(built.parameters[1].initializer.kind, "zeros");
  EXPECT_FALSE(built.parameters[1].decays);
  EXPECT_EQ(built.graph.nodes().size(), 2u) << "product and bias";
}

TEST(DenseLayer, TakesAnyNumberOfAxesAndAnActivation) {
  const BuiltLayer built =
      build_layer(layer_from_settings("dense", {{"units", std::int64_t{4}},
                                                {"activation", std::string("tanh")},
                                                {"use_bias", false},
                                                {"kernel_initializer", std::string("he_normal")}}),
                  {{DType::kF32, {2, 7, 3}}}, "fc");
  EXPECT_EQ(built.graph.type(built.output).shape, (Shape{2, 7, 4}));
  ASSERT_EQ(built.parameters.size(), 1u);
  EXPECT_EQ(built.parameters[0].initializer.kind, "he_normal");
  EXPECT_EQ(built.graph.nodes().back().op->name(), "tanh");
}

TEST(DenseLayer, WrongSettingsAndShapesAreRefused) {
  EXPECT_EQ(message_of([] {
              layer_from_settings("dense", {{"units", std::int64_t{0}}});
            }),
            "train.toml:5: layer[0].units: found 0, expected an integer of at least 1");
  EXPECT_NE(message_of([] {
              layer_from_settings(
                  "dense", {{"units", std::int64_t{1}}, {"activation", std::string("rleu")}});
            }).find("relu"),
            std::string::npos);
  EXPECT_THROW(layer_from_settings("dense"), Error);
  EXPECT_THROW(dense({.units = -1}), Error);
  EXPECT_EQ(message_of([] {
              build_layer(dense({.units = 1}), {{DType::kF32, {2}}}, "fc");
            }),
            "fc (dense): input (2) has no features, expected (batch, ..., features)");
}

}  // namespace
}  // namespace lockstep::testing
