// Layers that only see the same elements in another shape: flatten and reshape. They cost nothing.
// Words are those of Keras 3.
#pragma once

#include <vector>

#include "ops/layers/layer.h"

namespace lockstep {

struct ReshapeOptions {
  std::vector<std::int64_t> target_shape;  // of one sample; one extent may be -1: what is left
};

LayerPtr flatten();  // (batch, ...) -> (batch, features)
LayerPtr reshape(const ReshapeOptions& options);

// [[layer]] type = "flatten" / "reshape" (target_shape)
void register_reshape_layers(LayerRegistry& registry);

}  // namespace lockstep
