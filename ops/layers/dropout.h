// The dropout layer: zeroes elements at random while training and does nothing in inference. See
// ops/dropout/dropout.h for what the randomness depends on.
#pragma once

#include "ops/layers/layer.h"

namespace lockstep {

struct DropoutOptions {
  double rate = 0.5;  // share of elements that become zero, in [0, 1)
};

LayerPtr dropout(const DropoutOptions& options);

// [[layer]] type = "dropout" rate = 0.5 (rate has no default, as in Keras)
void register_dropout_layer(LayerRegistry& registry);

}  // namespace lockstep
