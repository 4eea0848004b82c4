// restarts.jsonl: what went wrong in a run, and how it went on. A line for each restart, oldest
// first:
//
//   {"time":"2026-11-27T09:07:16Z","cause":"rank 1 on h1 (process 4711) is gone:
//   ...","host":"h1","rank":1,"failed_step":50,
//    "from_step":40,"pause":0.0,"left_out":["h2"]}
//
// "host" is "", "rank" and "from_step" are null, and "failed_step" is 0 where that is not known.
// lockstep launch writes it; a run that is resumed goes on with it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace lockstep {

struct RestartRecord {
  std::string time = {};  // UTC, as above
  std::string cause = {};
  std::string host = {};         // to blame
  int rank = -1;                 // -1: not known
  std::int64_t failed_step = 0;  // that the rank was in
  // Of the checkpoint from which it went on; 0: there was none.
  std::optional<std::int64_t> from_step = {};
  double pause = 0;                        // seconds, before the restart
  std::vector<std::string> left_out = {};  // hosts that were given up
};

std::string to_line(const RestartRecord& record);

// Adds a record. The file is written beside and renamed: no reader sees half of a line.
void append_restart(const std::string& path, const RestartRecord& record);

// All of them; none where there is no file. Throws bad_input "PATH:LINE".
std::vector<RestartRecord> read_restarts(const std::string& path);

}  // namespace lockstep
