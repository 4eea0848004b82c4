// Layers that join several inputs: add, subtract, multiply, divide (with broadcasting) and
// concatenate. Words and defaults are those of Keras 3, which has no division.
#pragma once

#include "ops/layers/layer.h"

namespace lockstep {

struct ConcatenateOptions {
  int axis = -1;  // not the batch (0)
};

LayerPtr add();       // of two inputs or more
LayerPtr subtract();  // the first less the second
LayerPtr multiply();  // of two inputs or more
LayerPtr divide();    // the first by the second
LayerPtr concatenate(const ConcatenateOptions& options);

// [[layer]] type = "add" / "subtract" / "multiply" / "divide" / "concatenate" (axis), inputs = ["a", "b"]
void register_merge_layers(LayerRegistry& registry);

}  // namespace lockstep
