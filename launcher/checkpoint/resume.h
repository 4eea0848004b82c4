// From a checkpoint back into a training.
#pragma once

#include <string>
#include <vector>

#include "launcher/checkpoint/manifest.h"
#include "launcher/training.h"

namespace lockstep {

enum class LoadedState {
  kAll,      // to go on with training
  kWeights,  // parameters and statistics, to evaluate
};

struct LoadedCheckpoint {
  bool found = false;
  std::string path;
  Manifest manifest;
  std::vector<std::string> passed_over;  // "PATH: why": newer ones that are broken
};

// Loads the newest whole checkpoint of `directory` into `training`: parameters, statistics, moments, step. The ranks
// share the work of verifying. All ranks call it; the result is the same on all. Throws a SharedError where there are
// checkpoints and none is whole, and, naming the tensors that differ, where the checkpoint belongs to another model or
// optimizer, or to other training data.
LoadedCheckpoint load_newest_checkpoint(Training& training, const std::string& directory,
                                        LoadedState what = LoadedState::kAll);

// The same with that checkpoint and no other.
LoadedCheckpoint load_checkpoint(Training& training, const std::string& path, LoadedState what = LoadedState::kAll);

}  // namespace lockstep
