// Where tensors are read from, one at a time: a checkpoint, the newest one of a run, or a file of weights.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "launcher/checkpoint/stored_checkpoint.h"
#include "launcher/weights/weights.h"

namespace lockstep {

struct TensorSource {
  std::string path;  // for messages: of the checkpoint, or the file
  std::map<std::string, Shape> shapes;
  std::function<std::vector<float>(const std::string& name)> read;  // REQUIRES: it is in `shapes`

  Weights read_all() const;
};

// The whole state, with its kinds: "parameters/conv1/weight", "m/conv1/weight".
TensorSource state_of(StoredCheckpoint checkpoint);
// What a trained model consists of, as files of weights name it: parameters and statistics without their kinds.
TensorSource weights_of(StoredCheckpoint checkpoint);

// Of the directory of a checkpoint, of a run (its newest whole checkpoint), or of a file of weights, which names
// things as weights_of() does. Verifies what has checksums. Throws bad_input where `path` is none of these.
TensorSource open_state(const std::string& path);
TensorSource open_weights(const std::string& path);

// Neither a checkpoint nor a run, but one file.
bool is_weights_file(const std::string& path);

}  // namespace lockstep
