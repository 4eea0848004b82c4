// Checkpoints: the whole state of a training, so that it goes on with the same bits, with any number of workers.
//
//   checkpoints/
//     step-00001200/
//       part-0000.h5      rank 0: parameters and statistics, and its part of the moments
//       part-0001.h5      rank 1: its part of the moments
//       manifest.json     written last
//
//   part-RRRR.h5   "parameters/<name>"   f32, the parameter's shape                         (rank 0)
//                  "statistics/<name>"   f32, the statistic's shape                         (rank 0)
//                  "<moment>/<name>"     f32 vector: a slice of the moment of parameter <name>, flattened, with the
//                                        integer attribute "offset": its first element there  (every rank)
//   manifest.json  { "format": 1, "step": N, "configuration": SHA-256, "dataset": fingerprint, "world_size": W,
//                    "parts": [ { "file": "part-0000.h5", "bytes": n, "xxh3": "16 hex digits" }, ... ] }
//
// Slices are addressed by parameter name, never by rank or bucket. The directory is written as ".step-N.tmp", synced, and
// renamed, so a directory with its final name is complete. All ranks make the same calls.
#pragma once

#include <string>
#include <vector>

#include "launcher/training.h"

namespace lockstep {

struct CheckpointEntry {
  std::int64_t step = 0;
  std::string path;
};

// The checkpoints in `directory`, oldest first; empty where there is no such directory.
std::vector<CheckpointEntry> list_checkpoints(const std::string& directory);

// Writes the state of `training` as step-<its step> and removes all but the newest `keep` (at least 1). Does nothing where
// that step is there already.
void save_checkpoint(Training& training, const std::string& directory, std::int64_t keep);

struct LoadedCheckpoint {
  bool found = false;
  std::int64_t step = 0;
  std::string path;
  std::vector<std::string> passed_over;  // "PATH: why", broken ones that are newer
};

// Loads the newest valid checkpoint into `training` (parameters, statistics, moments, step). Throws bad_input naming the
// tensors that differ where it belongs to another model.
LoadedCheckpoint load_newest_checkpoint(Training& training, const std::string& directory);

}  // namespace lockstep
