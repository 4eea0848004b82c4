// summary.json and failure.json: how a run ended. Both are written beside and renamed, so a reader
// never sees half of one.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "dist/watchdog.h"

namespace lockstep {

// Fields are keys of summary.json, in this order. A number that is not finite is null there.
struct Summary {
  std::string
      status;  // "finished", "stopped" (by a signal or the time limit; resume it) or "failed"
  std::int64_t world_size = 1;
  std::int64_t microbatches = 1;
  std::int64_t global_batch = 1;
  std::string device;  // "cpu" or "cuda"
  std::int64_t steps = 0;
  std::int64_t epochs = 0;
  double seconds = 0.0;                                    // of training, without start-up
  double seconds_to_first_step = 0.0;                      // from the start of the program
  double samples_per_second = 0.0;                         // steady state, all workers together
  std::int64_t peak_rss_bytes = 0;                         // of the largest worker
  double final_loss = 0.0;                                 // of the last training step
  std::vector<std::pair<std::string, double>> evaluation;  // a map: metric -> value
  std::int64_t parameters = 0;                             // number of trained elements
  std::string parameters_sha256;  // of the canonical fp32 bytes in order of name
};

std::string to_json(const Summary& summary);
void write_summary(const std::string& path, const Summary& summary);
// Throws bad_input naming the path and the key where the file is not a summary. Keys it does not
// know are passed over.
Summary read_summary(const std::string& path);

// Fields are keys of failure.json, in this order.
struct Failure {
  std::string kind;  // "bad input", "environment", "invariant"
  int rank = 0;      // that is to blame
  std::int64_t step = 0;  // the one that ran
  std::string message;    // one line
  std::string host = {}, phase = {};  // of that rank, where the watchdog told it
  std::vector<RankState> ranks = {};  // all, as they were heard of last
};

std::string to_json(const Failure& failure);
void write_failure(const std::string& path, const Failure& failure);
Failure read_failure(const std::string& path);

}  // namespace lockstep
