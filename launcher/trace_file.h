// The file of `lockstep train --trace FILE`: what ran when, on all workers, on one clock, in Chrome's trace format (JSON), for
// https://ui.perfetto.dev or chrome://tracing. A process is a worker; its tracks are the phases, the stream that computes, and
// the stream that communicates. Times are microseconds of rank 0's clock.
#pragma once

#include <string>

#include "core/base/trace.h"
#include "launcher/placement.h"
#include "launcher/worker.h"

namespace lockstep {

// The steps of `--trace-steps`: "10:20", or "10" for one. Throws bad_input.
struct TracedSteps {
  std::int64_t first = 1, last = 50;
};
TracedSteps parse_traced_steps(const std::string& text);

// Collects the spans of all workers; rank 0 writes the file. All ranks call it.
void write_trace(const std::string& path, const Trace& trace, Worker& worker, const std::vector<WorkerPlace>& places);
// What this worker alone has: all that is left to show where others are gone.
void write_own_trace(const std::string& path, const Trace& trace, const WorkerPlace& place);

}  // namespace lockstep
