// Writes checkpoints beside the training: the training stalls while its state is copied in memory, a thread writes.
//
// A checkpoint goes through these stages, on all ranks alike:
//   begin()    every rank copies the state that it alone has, and its thread writes it as a part
//              (".step-00001200.tmp/part-0000.h5"), syncs it and reads it back
//   advance()  when all have: they tell each other sizes and checksums, and rank 0's thread writes the manifest, syncs,
//              gives the directory its name, and removes what is not kept; or, where one could not, what the others
//              have written
//   advance()  when that is done: all hear whether it was
// There is one at a time; the next waits for the last. A disk that fails makes the checkpoint fail, on all ranks, and
// changes nothing that was there.
//
// All ranks make the same calls in the same order, but for busy(). Cost to the training: the copy, and two small exchanges.
#pragma once

#include <chrono>
#include <functional>
#include <future>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/base/file.h"
#include "launcher/checkpoint/manifest.h"
#include "launcher/checkpoint/retention.h"
#include "launcher/checkpoint/state_copy.h"
#include "launcher/training.h"

namespace lockstep {

// How one checkpoint ended; the same on all ranks.
struct CheckpointOutcome {
  std::int64_t step = 0;
  std::string path = {};   // where it lies
  std::string error = {};  // why there is none; empty where there is
  double seconds = 0;      // from begin() until it was known
  double waited = 0;       // in which the training waited for it, because the next one was due
};

struct CheckpointOptions {
  std::string directory;  // on a file system that all ranks share
  Retention retention = {};
  std::int64_t loaded_step = -1;  // the checkpoint of that step is there already; -1: none
  std::vector<std::string> belonging = {};  // files of rank 0 that are synced before it is complete: the log
  std::function<void(const CheckpointOutcome&)> ended = {};  // called for each, by the thread that called us
  const FileSystem* files = &local_files();
};

// What is kept besides the tensors.
struct CheckpointNotes {
  bool evaluated = true;
  std::map<std::string, double> metrics = {};
  std::map<std::string, nlohmann::json> followed = {};
};

class CheckpointWriter {
 public:
  // Makes the directory, and removes what an interrupted run left half-written there, and what is not kept; throws a SharedError where the
  // disk does not let it. `training` outlives it.
  CheckpointWriter(Training& training, CheckpointOptions options);
  // Waits for this rank's thread. What is not complete stays incomplete.
  ~CheckpointWriter();
  CheckpointWriter(const CheckpointWriter&) = delete;
  CheckpointWriter& operator=(const CheckpointWriter&) = delete;

  // Copies the state as of now. False, and nothing is done, where this step's checkpoint is there already.
  bool begin(CheckpointNotes notes);
  // The checkpoint of this step is there, without what is now known of it: its evaluation. REQUIRES: nothing is pending.
  void amend(const CheckpointNotes& notes);
  // Something is under way that all ranks have to go on with.
  bool pending() const { return stage_ != Stage::kIdle; }
  // Of this rank: its thread is at work.
  bool busy() const;
  // The next stage. REQUIRES: no rank is busy.
  void advance();
  // Waits until nothing is pending, however long the disk takes. Returns how the last one ended.
  const CheckpointOutcome& finish();

 private:
  enum class Stage { kIdle, kParts, kCommit };
  using Clock = std::chrono::steady_clock;

  std::string unfinished_path() const;
  std::string commit(const std::vector<PartEntry>& parts) const;
  std::string give_up(const std::string& why) const;
  Manifest manifest_of(const std::vector<PartEntry>& parts) const;
  void end(const std::string& error);

  Training& training_;
  CheckpointOptions options_;
  StateCopy copy_;
  Stage stage_ = Stage::kIdle;
  Clock::time_point begun_;
  CheckpointNotes notes_;
  CheckpointOutcome current_;
  std::optional<Clock::time_point> next_due_;  // since when the next one waits for it
  std::int64_t committed_step_;
  std::future<std::string> work_;  // last: it is waited for before the rest goes
};

}  // namespace lockstep
