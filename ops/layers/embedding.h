// The embedding layer: numbers i32(batch, ...) in [0, input_dim) become vectors f32(batch, ...,
// output_dim). Parameter "embeddings" (input_dim, output_dim). Words and defaults are those of
// Keras 3 (initial values uniform in [-0.05, 0.05]); PyTorch starts from a standard normal.
#pragma once

#include "ops/layers/layer.h"

namespace lockstep {

struct EmbeddingOptions {
  std::int64_t input_dim = 0;   // size of the vocabulary, >= 1
  std::int64_t output_dim = 0;  // >= 1
  Initializer embeddings_initializer = {.kind = "uniform"};
};

LayerPtr embedding(const EmbeddingOptions& options);

// [[layer]] type = "embedding" input_dim = 1000 output_dim = 16 (embeddings_initializer =
// "uniform")
void register_embedding_layer(LayerRegistry& registry);

}  // namespace lockstep
