// The batch normalisation layer, as Keras: while training each channel (the last axis) is
// normalised by its mean and variance over the batch, which for Lockstep is the microbatch, or with
// `synchronized` the whole global batch (as in PyTorch's SyncBatchNorm); in inference by their
// moving averages. Definition in ops/batch_norm/batch_norm.h.
//
// A frozen layer normalises by the moving averages while training too, and leaves them as they are
// (Keras 2 and later).
//
// Parameters "gamma" (scale, from 1) and "beta" (offset, from 0); weight decay spares them.
// Statistics "moving_mean" (from 0) and "moving_variance" (from 1): moving = momentum * moving + (1
// - momentum) * batch. Keras' momentum 0.99 is 0.01 in PyTorch, whose default is 0.9 in these
// words.
#pragma once

#include "ops/layers/layer.h"

namespace lockstep {

struct BatchNormalizationOptions {
  double momentum = 0.99;  // in [0, 1]
  double epsilon = 1e-3;   // above 0. PyTorch: 1e-5
  bool center = true;      // with an offset
  bool scale = true;       // with a scale
  // Over the global batch. The microbatches of a worker are then computed side by side, not one after another: more memory
  bool synchronized = false;
};

// Throws bad_input for an impossible value.
LayerPtr batch_normalization(const BatchNormalizationOptions& options = {});

// [[layer]] type = "batch_normalization" momentum, epsilon, center, scale,
// synchronized
void register_batch_normalization_layer(LayerRegistry& registry);

}  // namespace lockstep
