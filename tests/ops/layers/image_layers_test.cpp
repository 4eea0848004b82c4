// The layers of images: convolution and pooling.
#include <gtest/gtest.h>

#include "ops/conv2d/conv2d.h"
#include "ops/layers/conv2d.h"
#include "ops/layers/pooling.h"
#include "tests/ops/layers/layer_testing.h"

namespace lockstep::testing {
namespace {

const TensorType kImages{DType::kF32, {2, 9, 8, 4}};

std::vector<Setting> list(std::int64_t a, std::int64_t b) {
  return {{a, "here"}, {b, "here"}};
}

TEST(Conv2dLayer, HasKerasDefaults) {
  const BuiltLayer built =
      build_layer(conv2d({.filters = 6, .kernel_size = {3, 5}}), {kImages}, "conv");
  EXPECT_EQ(built.graph.type(built.output).shape, (Shape{2, 7, 4, 6}));
  ASSERT_EQ(built.parameters.size(), 2u);
  EXPECT_EQ(built.parameters[0].name, "conv/weight");
  EXPECT_EQ(built.parameters[0].shape, (Shape{3, 5, 4, 6}));
  EXPECT_EQ(built.parameters[0].initializer.kind, "glorot_uniform");
  // The fans of Keras: the window times the channels.
  EXPECT_EQ(built.parameters[0].initializer.fan_in, 3 * 5 * 4);
  EXPECT_EQ(built.parameters[0].initializer.fan_out, 3 * 5 * 6);
  EXPECT_TRUE(built.parameters[0].decays);
  EXPECT_EQ(built.parameters[1].shape, (Shape{6}));
  EXPECT_EQ(built.parameters[1].initializer.kind, "zeros");
  EXPECT_FALSE(built.parameters[1].decays);
}

TEST(Conv2dLayer, SettingsReachTheOp) {
  const BuiltLayer built =
      build_layer(layer_from_settings("conv2d", {{"filters", std::int64_t{6}},
                                                 {"kernel_size", std::int64_t{3}},
                                                 {"strides", list(2, 1)},
                                                 {"padding", std::string("same")},
                                                 {"groups", std::int64_t{2}},
                                                 {"algorithm", std::string("direct")},
                                                 {"use_bias", false},
                                                 {"activation", std::string("relu")}}),
                  {kImages}, "conv");
  EXPECT_EQ(built.graph.node(0).op->to_string(),
            "conv2d[strides=(2, 1) padding=same dilation=(1, 1) groups=2 algorithm=direct]");
  EXPECT_EQ(built.graph.type(built.output).shape, (Shape{2, 5, 8, 6}));
  EXPECT_EQ(built.parameters[0].shape, (Shape{3, 3, 2, 6}));
  EXPECT_EQ(built.parameters.size(), 1u);
  EXPECT_EQ(built.graph.nodes().back().op->name(), "relu");
}

TEST(Conv2dLayer, AmountsOfPaddingAreThoseOfPyTorch) {
  const BuiltLayer built =
      build_layer(layer_from_settings("conv2d", {{"filters", std::int64_t{1}},
                                                 {"kernel_size", std::int64_t{3}},
                                                 {"padding", list(1, 2)},
                                                 {"dilation_rate", std::int64_t{2}}}),
                  {kImages}, "conv");
  EXPECT_EQ(built.graph.type(built.output).shape, (Shape{2, 7, 8, 1}));
}

TEST(Conv2dLayer, WrongSettingsAndShapesAreRefused) {
  EXPECT_EQ(message_of([] {
              layer_from_settings("conv2d", {{"filters", std::int64_t{6}},
                                             {"kernel_size", std::int64_t{3}},
                                             {"groups", std::int64_t{4}}});
            }),
            "train.toml:7: layer[0].groups: 6 filters cannot be split into 4 groups");
  EXPECT_THROW(layer_from_settings("conv2d", {{"filters", std::int64_t{6}}}), Error);
  EXPECT_THROW(layer_from_settings(
                   "conv2d", {{"filters", std::int64_t{6}}, {"kernel_size", std::int64_t{0}}}),
               Error);
  const auto layer = conv2d({.filters = 6, .kernel_size = {3, 3}, .groups = 3});
  EXPECT_EQ(message_of([&] { build_layer(layer, {kImages}, "conv"); }),
            "conv (conv2d): 4 input channels cannot be split into 3 groups");
  EXPECT_EQ(message_of([&] {
              build_layer(layer, {{DType::kF32, {2, 9}}}, "conv");
            }),
            "conv (conv2d): input (2, 9) is no batch of images, expected (batch, height, width, "
            "channels)");
  const auto large = conv2d({.filters = 6, .kernel_size = {10, 3}});
  EXPECT_EQ(message_of([&] { build_layer(large, {kImages}, "conv"); }),
            "conv (conv2d): window of height 10 does not fit into the input's height 9; padding "
            "\"same\" would do");
}

TEST(PoolingLayers, StridesAreThePoolSizeUnlessGiven) {
  for (const std::string kind : {"max_pooling2d", "average_pooling2d"}) {
    const BuiltLayer halves = build_layer(layer_from_settings(kind), {kImages}, "pool");
    EXPECT_EQ(halves.graph.type(halves.output).shape, (Shape{2, 4, 4, 4})) << kind;
    const BuiltLayer same =
        build_layer(layer_from_settings(kind, {{"pool_size", list(3, 2)},
                                               {"strides", std::int64_t{2}},
                                               {"padding", std::string("same")}}),
                    {kImages}, "pool");
    EXPECT_EQ(same.graph.type(same.output).shape, (Shape{2, 5, 4, 4})) << kind;
    EXPECT_TRUE(same.parameters.empty());
    EXPECT_THROW(layer_from_settings(kind, {{"pool_size", std::int64_t{0}}}), Error);
    EXPECT_EQ(
        message_of([&] {
          build_layer(layer_from_settings(kind), {{DType::kF32, {2, 9}}}, "pool");
        }),
        "pool (" + kind +
            "): input (2, 9) is no batch of images, expected (batch, height, width, channels)");
  }
}

TEST(PoolingLayers, GlobalPoolingsLeaveTheChannels) {
  for (const std::string kind : {"global_max_pooling2d", "global_average_pooling2d"}) {
    const BuiltLayer built = build_layer(layer_from_settings(kind), {kImages}, "pool");
    EXPECT_EQ(built.graph.type(built.output).shape, (Shape{2, 4})) << kind;
    EXPECT_THROW(build_layer(layer_from_settings(kind), {{DType::kF32, {2, 9}}}, "pool"), Error);
  }
}

}  // namespace
}  // namespace lockstep::testing
