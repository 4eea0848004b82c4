// Flatten and reshape.
#include "ops/layers/reshape.h"

#include <gtest/gtest.h>

#include "tests/ops/layers/layer_testing.h"

namespace lockstep::testing {
namespace {

Shape result(const LayerPtr& layer, const Shape& input) {
  const BuiltLayer built = build_layer(layer, {{DType::kF32, input}}, "shape");
  return built.graph.type(built.output).shape;
}

Setting::List list(std::initializer_list<std::int64_t> extents) {
  Setting::List out(extents.size());
  for (std::size_t i = 0; i < out.size(); ++i) out[i].value = extents.begin()[i];
  return out;
}

TEST(ReshapeLayers, KeepTheBatch) {
  EXPECT_EQ(result(flatten(), {5, 2, 3, 4}), (Shape{5, 24}));
  EXPECT_EQ(result(flatten(), {5}), (Shape{5, 1}));
  EXPECT_EQ(result(flatten(), {0, 3}), (Shape{0, 3}));
  EXPECT_EQ(result(reshape({.target_shape = {8, 8, 1}}), {3, 64}), (Shape{3, 8, 8, 1}));
  EXPECT_EQ(result(reshape({.target_shape = {-1, 4}}), {3, 64}), (Shape{3, 16, 4}));
  EXPECT_EQ(result(reshape({.target_shape = {}}), {3, 1}), (Shape{3}));
  EXPECT_EQ(build_layer(flatten(), {{DType::kF32, {5, 3}}}).graph.nodes().size(), 0u);
}

TEST(ReshapeLayers, AreMadeFromSettings) {
  EXPECT_EQ(result(layer_from_settings("flatten"), {2, 3, 4}), (Shape{2, 12}));
  EXPECT_EQ(result(layer_from_settings("reshape", {{"target_shape", list({3, -1})}}), {2, 12}),
            (Shape{2, 3, 4}));
}

TEST(ReshapeLayers, RefuseWhatDoesNotFit) {
  EXPECT_EQ(message_of([] {
              result(reshape({.target_shape = {5, 5}}), {3, 64});
            }),
            "shape (reshape): a sample of (64) has 64 elements, which do not fit in (5, 5)");
  EXPECT_EQ(message_of([] {
              result(reshape({.target_shape = {-1, 5}}), {3, 64});
            }),
            "shape (reshape): a sample of (64) has 64 elements, which do not fit in (-1, 5)");
  EXPECT_EQ(message_of([] { result(flatten(), {}); }),
            "shape (flatten): input is f32(), expected (batch, ...)");
  const std::string wrong =
      "train.toml:5: layer[0].target_shape: expected at most 7 positive extents, one of them may "
      "be -1";
  for (const auto& extents :
       {list({-1, -1}), list({0}), list({-2}), list({1, 1, 1, 1, 1, 1, 1, 1})}) {
    EXPECT_EQ(message_of([&] {
                layer_from_settings("reshape", {{"target_shape", extents}});
              }),
              wrong);
  }
  EXPECT_EQ(message_of([] { layer_from_settings("reshape"); }),
            "train.toml:3: layer[0].target_shape: missing; expected the extents of a sample, such "
            "as [8, 8, 1]");
  EXPECT_THROW(reshape({.target_shape = {0}}), Error);
}

}  // namespace
}  // namespace lockstep::testing
