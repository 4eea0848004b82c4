// The embedding layer.
#include "ops/layers/embedding.h"

#include <gtest/gtest.h>

#include "tests/ops/layers/layer_testing.h"

namespace lockstep::testing {
namespace {

TEST(EmbeddingLayer, LooksUpItsParameter) {
  const BuiltLayer built =
      build_layer(embedding({.input_dim = 10, .output_dim = 4}), {{DType::kI32, {2, 3}}}, "words");
  EXPECT_EQ(built.graph.type(built.output).to_string(), "f32(2, 3, 4)");
  ASSERT_EQ(built.parameters.size(), 1u);
  EXPECT_EQ(built.parameters[0].name, "words/embeddings");
  EXPECT_EQ(built.parameters[0].shape, (Shape{10, 4}));
  EXPECT_EQ(built.parameters[0].initializer.kind, "uniform");
}

TEST(EmbeddingLayer, IsMadeFromSettings) {
  const LayerPtr layer =
      layer_from_settings("embedding", {{"input_dim", std::int64_t{5}},
                                        {"output_dim", std::int64_t{2}},
                                        {"embeddings_initializer", std::string("normal")}});
  const BuiltLayer built = build_layer(layer, {{DType::kI32, {3}}});
  EXPECT_EQ(built.parameters.at(0).shape, (Shape{5, 2}));
  EXPECT_EQ(built.parameters.at(0).initializer.kind, "normal");
}

TEST(EmbeddingLayer, RefusesWhatItCannotDo) {
  EXPECT_EQ(message_of([] {
              layer_from_settings(
                  "embedding", {{"input_dim", std::int64_t{0}}, {"output_dim", std::int64_t{2}}});
            }),
            "train.toml:5: layer[0].input_dim: is 0, expected 1 or more");
  EXPECT_EQ(message_of([] { layer_from_settings("embedding"); }),
            "train.toml:3: layer[0].input_dim: missing; expected an integer");
  EXPECT_EQ(message_of([] { embedding({.input_dim = 3}); }),
            "embedding: input_dim is 3 and output_dim 0, expected 1 or more");
  EXPECT_EQ(message_of([] {
              build_layer(embedding({.input_dim = 3, .output_dim = 2}), {{DType::kF32, {2}}}, "e");
            }),
            "e (embedding): ids are f32(2), expected i32 of at most 7 axes");
}

}  // namespace
}  // namespace lockstep::testing
