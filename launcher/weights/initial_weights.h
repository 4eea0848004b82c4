// A training that begins with given weights (train.initial_weights): those of a run, of a checkpoint or of a file. Layers
// may be left out and begin anew, as the head for another task does.
#pragma once

#include <string>
#include <vector>

#include "launcher/training.h"
#include "launcher/weights/tensor_source.h"

namespace lockstep {

struct BegunWeights {
  std::string from = {};                // the checkpoint or file
  std::size_t tensors = 0;              // that were taken over
  std::vector<std::string> fresh = {};  // layers with parameters or statistics that begin anew
};

// "8 tensors of runs/digits/checkpoints/step-00000230; anew: head"
std::string to_string(const BegunWeights& begun);

// Parameters and statistics of the layers that no pattern of `except` fits become those of `source`. Throws bad_input
// naming what is missing, what there is besides, and what has another shape, with the layers that `except` had to name.
BegunWeights take_weights(Training& training, const TensorSource& source, const std::vector<std::string>& except);

// Does so with what the configuration says. All ranks call it after initialize(), and then have equal values; errors are
// SharedErrors. REQUIRES: config().train.initial_weights
BegunWeights begin_with_initial_weights(Training& training);

}  // namespace lockstep
