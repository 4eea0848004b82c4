// Faults to order: `lockstep train CONFIG --inject kill@2:10` kills rank 2 before step 10. To see what a cluster, a batch
// script or the watchdog makes of them; the tests do.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "launcher/training.h"

namespace lockstep {

enum class FaultKind {
  kException,  // an error of this rank alone
  kAbort,      // abort()
  kSegfault,   // a write to address 0
  kKill,       // SIGKILL
  kExit,       // ends without a word, exit code 0
  kStop,       // SIGSTOP
  kSleep,      // computes for ever
  kSlowData,   // waits for data for ever
  kNan,        // a NaN in this rank's data
  kFlip,       // one bit of one parameter of this replica
  kFullDisk,   // from now on this rank can write no byte to a file
};

struct Fault {
  FaultKind kind = FaultKind::kException;
  int rank = 0;
  std::int64_t step = 1;  // before which it happens; from 1
};

// "kill@2:10". Throws bad_input.
Fault parse_fault(const std::string& text);

// Throws bad_input where one of them is impossible.
void check_faults(const std::vector<Fault>& faults, Training& training);

// Commits those that are due on this rank before `step`.
void commit_faults(const std::vector<Fault>& faults, std::int64_t step, Training& training);

}  // namespace lockstep
