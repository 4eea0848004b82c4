// The mean of several weights: of the last checkpoints of a run (P. Izmailov et al., "Averaging weights leads to wider
// optima and better generalization", UAI 2018), or of several runs.
#pragma once

#include <vector>

#include "launcher/weights/tensor_source.h"

namespace lockstep {

// Element by element the sum in the order of `sources`, in double, divided by how many there are, rounded once to f32: the
// same bits everywhere. Throws bad_input where they do not all have the same tensors. REQUIRES: there is one.
Weights average(const std::vector<TensorSource>& sources);

}  // namespace lockstep
