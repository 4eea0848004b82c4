// Layers that join several inputs.
#include "ops/layers/merge.h"

#include <gtest/gtest.h>

#include "tests/ops/layers/layer_testing.h"

namespace lockstep::testing {
namespace {

std::string nodes(const LayerPtr& layer, const std::vector<TensorType>& types) {
  const std::string all = build_layer(layer, types, "join").graph.to_string();
  return all.substr(all.find("%" + std::to_string(types.size())));
}

const TensorType kType{DType::kF32, {2, 3}};

TEST(MergeLayers, AddTheirOps) {
  EXPECT_EQ(nodes(add(), {kType, kType}), "%2 f32(2, 3) = add(%0, %1) \"join\"\n");
  EXPECT_EQ(nodes(add(), {kType, kType, kType}),
            "%3 f32(2, 3) = add(%0, %1) \"join/partial1\"\n"
            "%4 f32(2, 3) = add(%3, %2) \"join\"\n");
  EXPECT_EQ(nodes(subtract(), {kType, kType}), "%2 f32(2, 3) = subtract(%0, %1) \"join\"\n");
  EXPECT_EQ(nodes(divide(), {kType, kType}), "%2 f32(2, 3) = divide(%0, %1) \"join\"\n");
  EXPECT_EQ(nodes(multiply(), {kType, {DType::kF32, {2, 1}}}),
            "%2 f32(2, 3) = multiply(%0, %1) \"join\"\n");
  EXPECT_EQ(nodes(concatenate({}), {kType, {DType::kF32, {2, 4}}}),
            "%2 f32(2, 7) = concat[axis=-1](%0, %1) \"join\"\n");
}

TEST(MergeLayers, AreMadeFromSettings) {
  for (const char* kind : {"add", "subtract", "multiply", "divide"}) {
    EXPECT_NE(nodes(layer_from_settings(kind), {kType, kType}).find(kind), std::string::npos);
  }
  EXPECT_EQ(nodes(layer_from_settings("concatenate", {{"axis", std::int64_t{1}}}), {kType, kType}),
            "%2 f32(2, 6) = concat[axis=1](%0, %1) \"join\"\n");
}

TEST(MergeLayers, RefuseWhatTheyCannotJoin) {
  EXPECT_EQ(message_of([] { nodes(add(), {kType}); }), "join (add): takes 2 inputs or more, got 1");
  EXPECT_EQ(message_of([] {
              nodes(subtract(), {kType, kType, kType});
            }),
            "join (subtract): takes 2 inputs, got 3");
  EXPECT_EQ(message_of([] {
              nodes(concatenate({.axis = 0}), {kType, kType});
            }),
            "join (concatenate): axis 0 is the batch, expected another axis");
  EXPECT_EQ(message_of([] {
              nodes(concatenate({.axis = -2}), {kType, kType});
            }),
            "join (concatenate): axis -2 is the batch, expected another axis");
}

}  // namespace
}  // namespace lockstep::testing
