// Activations as ONNX, alone and at the end of other ops.
#pragma once

#include <optional>
#include <string>

#include "ops/activation/activation.h"
#include "ops/onnx/converter.h"

namespace lockstep {

// Adds the nodes of f(x) and returns the name of the result; x itself where there is no activation.
std::string activation_onnx(OnnxNodeContext& to, const std::optional<Activation>& activation, const std::string& x);

}  // namespace lockstep
