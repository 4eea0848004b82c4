// Layers that reduce axes of a sample.
#include "ops/layers/reduction.h"

#include <gtest/gtest.h>

#include "tests/ops/layers/layer_testing.h"

namespace lockstep::testing {
namespace {

const TensorType kType{DType::kF32, {2, 3, 4}};

std::string node(const LayerPtr& layer, const TensorType& type = kType) {
  const std::string all = build_layer(layer, {type}, "less").graph.to_string();
  return all.substr(all.find("%1"));
}

TEST(ReductionLayers, KeepTheBatch) {
  EXPECT_EQ(node(reduce_sum()), "%1 f32(2) = reduce_sum[axes=1,2](%0) \"less\"\n");
  EXPECT_EQ(node(reduce_mean({.axis = {1}})), "%1 f32(2, 4) = reduce_mean[axes=1](%0) \"less\"\n");
  EXPECT_EQ(node(reduce_max({.axis = {-1}, .keepdims = true})),
            "%1 f32(2, 3, 1) = reduce_max[axes=2 keepdims=true](%0) \"less\"\n");
}

TEST(ReductionLayers, AreMadeFromSettings) {
  for (const char* kind : {"reduce_sum", "reduce_mean", "reduce_max"}) {
    EXPECT_NE(node(layer_from_settings(kind, {{"axis", std::int64_t{-1}}})).find(text("f32(2, 3) = ", kind)), std::string::npos);
  }
}

TEST(ReductionLayers, RefuseTheBatchAndWhatIsNotThere) {
  EXPECT_EQ(message_of([] { node(reduce_sum({.axis = {0}})); }),
            "less (reduce_sum): axis 0 of input (2, 3, 4) is the batch, expected another axis");
  EXPECT_EQ(message_of([] { node(reduce_sum({.axis = {-3}})); }),
            "less (reduce_sum): axis -3 of input (2, 3, 4) is the batch, expected another axis");
  EXPECT_EQ(message_of([] { node(reduce_max({.axis = {3}})); }), "less (reduce_max): axis 3 of input (2, 3, 4) is not there");
  EXPECT_EQ(message_of([] { node(reduce_mean(), {DType::kF32, {2}}); }),
            "less (reduce_mean): input (2) has nothing but the batch to reduce");
}

}  // namespace
}  // namespace lockstep::testing
