// The activations as layers, and one layer that takes the activation by name. Words and defaults
// are those of Keras 3; definitions are in ops/activation/activation.h and ops/softmax/softmax.h.
#pragma once

#include <string>

#include "ops/layers/layer.h"

namespace lockstep {

struct LeakyReluOptions {
  double negative_slope = 0.3;  // PyTorch: 0.01
};

struct GeluOptions {
  bool approximate = false;  // the tanh form
};

struct SoftmaxOptions {
  int axis = -1;
};

struct ActivationOptions {
  std::string activation;  // one of activation_names()
};

LayerPtr relu();
LayerPtr leaky_relu(const LeakyReluOptions& options);
LayerPtr sigmoid();
LayerPtr tanh();
LayerPtr gelu(const GeluOptions& options);
LayerPtr softmax(const SoftmaxOptions& options);
// Throws bad_input naming the nearest valid activation.
LayerPtr activation(const ActivationOptions& options);

// [[layer]] type = "relu" / "leaky_relu" (negative_slope) / "sigmoid" / "tanh" / "gelu"
// (approximate) / "softmax" (axis) / "activation" (activation)
void register_activation_layers(LayerRegistry& registry);

}  // namespace lockstep
