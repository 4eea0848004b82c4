// Layers that reduce axes of a sample: its sum, mean or maximum. Without `axis` over the whole sample. Like Keras'
// ops.sum, ops.mean and ops.max; the batch stays.
#pragma once

#include <vector>

#include "ops/layers/layer.h"

namespace lockstep {

struct ReductionOptions {
  std::vector<std::int64_t> axis = {};  // counted with the batch (0), below 0 from the end; empty: all but the batch
  bool keepdims = false;                // reduced axes stay with extent 1
};

LayerPtr reduce_sum(const ReductionOptions& options = {});
LayerPtr reduce_mean(const ReductionOptions& options = {});
LayerPtr reduce_max(const ReductionOptions& options = {});

// [[layer]] type = "reduce_sum" / "reduce_mean" / "reduce_max" (axis, keepdims)
void register_reduction_layers(LayerRegistry& registry);

}  // namespace lockstep
