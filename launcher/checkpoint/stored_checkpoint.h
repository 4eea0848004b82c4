// Checkpoints on disk: which there are, whether one is whole, and its tensors.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "core/base/hdf5/hdf5.h"
#include "launcher/checkpoint/manifest.h"
#include "launcher/checkpoint/part.h"

namespace lockstep {

struct CheckpointEntry {
  std::int64_t step = 0;
  std::string path;
};

// The checkpoints in `directory`, oldest first, whole or not; empty where there is no such directory.
std::vector<CheckpointEntry> list_checkpoints(const std::string& directory);

// Throws bad_input, naming the file, where manifest or any part is missing or damaged. Cost: reads all of it.
Manifest verify_checkpoint(const std::string& path);

// The checkpoint that a word of the command line means: a directory of one, or in `directory` "newest" (the newest that
// is whole), "best" (by checkpoint.best) or the number of a step. Throws bad_input where there is none. Whole or not is
// only looked at for "newest".
std::string find_checkpoint(const std::string& directory, const std::string& which);

// One that was verified, open for reading. Used by one thread.
class StoredCheckpoint {
 public:
  // Throws bad_input where a part cannot be read, or parts and manifest do not fit together.
  StoredCheckpoint(std::string path, Manifest manifest);
  // Verifies it first.
  static StoredCheckpoint open(const std::string& path);

  const std::string& path() const { return path_; }
  const Manifest& manifest() const { return manifest_; }
  // Every tensor has all its elements: "parameters/<name>", "statistics/<name>", "<moment>/<name>".
  const std::map<std::string, Shape>& tensors() const { return manifest_.tensors; }
  // Elements of a tensor, row-major. REQUIRES: it is there and has them.
  void read(const std::string& name, Range range, float* to) const;
  std::vector<float> read(const std::string& name) const;

 private:
  struct Piece {
    std::size_t part;
    Range range;
  };

  std::string path_;
  Manifest manifest_;
  std::vector<Hdf5File> parts_;
  std::map<std::string, std::vector<Piece>> pieces_;  // by begin
};

}  // namespace lockstep
