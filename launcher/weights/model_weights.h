// Whether weights are those of a model.
#pragma once

#include <string>
#include <vector>

#include "launcher/model.h"
#include "launcher/weights/weights.h"

namespace lockstep {

// Throws bad_input "<where>: ..." that lists every tensor which is missing, which the model has not, and which has another
// shape. Parameters and statistics alike. REQUIRES: `model` was built for inference.
void check_weights(const std::string& where, const Weights& weights, const ModelGraph& model);

}  // namespace lockstep
