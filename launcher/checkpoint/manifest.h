// manifest.json: what a checkpoint consists of. It is written last, so a checkpoint that has one is
// complete; its own checksum covers every other byte of it.
//
//   checkpoint = checkpoints/step-<8 or more digits>/ { part } manifest.json
//   part       = part-<4 or more digits, the rank that wrote it>.h5
//   manifest   = {
//     "format": 2,
//     "step": optimizer steps done,
//     "written": "2026-11-27T09:30:00Z",
//     "configuration": SHA-256 of config.toml,
//     "dataset": fingerprint of the training data,
//     "world_size": how many workers wrote it,
//     "evaluated": false where the evaluation that is due at this step has still to be made,
//     "metrics": { name: value } of the evaluation at this step; empty where there was none,
//     "followed": { name: state } of what follows metrics over the run: best so far, early stopping,
//     "tensors": { name: shape } of all parts together,
//     "parts": [ { "file": name, "bytes": size, "xxh3": 16 hexadecimal digits }, ... ],
//     "xxh3": of the text of the manifest without this entry }
//
// docs/checkpoints.md has the whole format, that of the parts included (part.h).
#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "core/base/file.h"
#include "core/base/shape.h"

namespace lockstep {

struct PartEntry {
  std::string file = {};  // its name in the directory
  std::uint64_t bytes = 0;
  std::string xxh3 = {};
};

struct Manifest {
  std::int64_t step = 0;
  std::string written;  // UTC
  std::string configuration, dataset;
  std::int64_t world_size = 1;
  bool evaluated = true;
  std::map<std::string, double> metrics = {};
  std::map<std::string, nlohmann::json> followed = {};
  std::map<std::string, Shape> tensors = {};
  std::vector<PartEntry> parts = {};

  std::string to_text() const;
  // Throws bad_input beginning with `path` where the text is not what to_text() gives.
  static Manifest from_text(const std::string& text, const std::string& path);
};

// "step-00001200"; "part-0003.h5"; what a directory is called while it is written.
std::string step_name(std::int64_t step);
std::string part_name(int rank);
std::string unfinished_name(std::int64_t step);

// The paths of the manifest in a checkpoint's directory.
std::string manifest_path(const std::string& checkpoint);
// Throws bad_input where there is none, or a broken one.
Manifest read_manifest(const std::string& checkpoint, const FileSystem& files = local_files());

// A part as a manifest has it, and as ranks tell each other.
nlohmann::ordered_json to_json(const PartEntry& part);
PartEntry part_entry_from(const nlohmann::ordered_json& json);

}  // namespace lockstep
