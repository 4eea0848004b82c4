// Whether weights are those of a model.
#pragma once

#include <string>
#include <vector>

#include "launcher/model.h"
#include "launcher/weights/weights.h"

namespace lockstep {

// Throws bad_input "<where>: ..." that names tensors which are missing, which the model has not, and which have another
// shape (launcher/checkpoint/tensor_fit.h). Parameters and statistics alike. REQUIRES: `model` was built for inference.
void check_weights(const std::string& where, const Weights& weights, const ModelGraph& model);

}  // namespace lockstep
