// Which checkpoints stay on the disk.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "core/base/file.h"

namespace lockstep {

struct Retention {
  std::int64_t keep = 3;        // the newest ones; at least 1
  std::int64_t keep_every = 0;  // those of steps that this number divides stay for ever; 0: none
};

// The name under which the manifest keeps what checkpoint.best follows.
inline constexpr char kFollowedBest[] = "checkpoint.best";

// Removes what `retention` does not keep: never the one of step `current`, which is known to be whole, nor the best.
// Directories without a readable manifest are not counted, and go when enough newer ones are kept. Those of later steps
// were passed over as broken: they are left alone, and count for nothing; the training replaces them when it comes there.
void remove_old_checkpoints(const std::string& directory, std::int64_t current, const Retention& retention,
                            const FileSystem& files);

// What a kill left of checkpoints that were being written or removed.
void remove_unfinished(const std::string& directory, const FileSystem& files);

// The step of the best checkpoint that is there.
std::optional<std::int64_t> best_step(const std::string& directory);

}  // namespace lockstep
