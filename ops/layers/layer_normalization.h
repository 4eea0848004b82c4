// The layer normalisation layer, as Keras: each sample (and position) is normalised over its last
// axes. Definition in ops/layer_norm/layer_norm.h.
//
// Parameters "gamma" (scale, from 1) and "beta" (offset, from 0), of the extents of those axes;
// weight decay spares them.
#pragma once

#include <vector>

#include "ops/layers/layer.h"

namespace lockstep {

struct LayerNormalizationOptions {
  // The axes to normalise over: the last one, or several that are the last ones, as {-2, -1}.
  // Negative axes count from the end; the batch axis 0 is not among them.
  std::vector<std::int64_t> axis = {-1};
  double epsilon = 1e-3;  // above 0. PyTorch: 1e-5
  bool center = true;     // with an offset
  bool scale = true;      // with a scale
};

// Throws bad_input for an impossible value.
LayerPtr layer_normalization(const LayerNormalizationOptions& options = {});

// [[layer]] type = "layer_normalization" axis, epsilon, center, scale
void register_layer_normalization_layer(LayerRegistry& registry);

}  // namespace lockstep
