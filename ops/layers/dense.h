// The fully connected layer. Words and defaults are those of Keras 3.
#pragma once

#include <string>

#include "ops/layers/layer.h"

namespace lockstep {

struct DenseOptions {
  std::int64_t units = 0;             // must be given
  std::string activation = "linear";  // one of activation_names()
  bool use_bias = true;
  Initializer kernel_initializer = {};  // glorot_uniform
  Initializer bias_initializer = {.kind = "zeros"};
};

// (..., in) -> (..., units). Parameters "weight" (in, units) and "bias" (units).
LayerPtr dense(const DenseOptions& options);

// [[layer]] type = "dense"
void register_dense_layer(LayerRegistry& registry);

}  // namespace lockstep
