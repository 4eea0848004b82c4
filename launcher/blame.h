// Who made a run fail, read from the words of its workers and of mpirun.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace lockstep {

struct Blame {
  std::string host;       // as the host calls itself; empty: not known
  int rank = -1;          // -1: not known
  std::int64_t step = 0;  // that it was in; 0: not known
};

// The worker that a watchdog names (FaultReport of dist/watchdog.h); nothing where the line is
// another one:
//   lockstep: rank 2 on h1 (process 4711) died of SIGSEGV, in backward of step 120, for 0.3 s
std::optional<Blame> blame_in_fault(const std::string& line);

// The worker that mpirun names, of which no watchdog could tell; the paragraph on one line:
//   mpirun noticed that process rank 1 with PID 4711 on node h2 exited on signal 9 (Killed).
std::optional<Blame> blame_in_paragraph(const std::string& paragraph);

}  // namespace lockstep
