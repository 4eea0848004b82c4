#include "launcher/trace_file.h"

#include <charconv>

#include "core/base/error.h"
#include "core/base/file.h"
#include "dist/agree.h"
#include "dist/clock.h"

namespace lockstep {
namespace {

std::string title_of(const WorkerPlace& place) { return text("rank ", place.rank, " on ", place.host); }

void write(const std::string& path, const std::string& events) {
  local_files().write_atomic(path, "{\"displayTimeUnit\":\"ms\",\"traceEvents\":[\n" + events + "\n]}\n");
}

}  // namespace

TracedSteps parse_traced_steps(const std::string& words) {
  TracedSteps steps;
  const char* const end = words.data() + words.size();
  const auto [colon, error] = std::from_chars(words.data(), end, steps.first);
  bool good = error == std::errc() && steps.first >= 1;
  steps.last = steps.first;
  if (good && colon != end) {
    const auto [rest, second] = std::from_chars(colon + 1, end, steps.last);
    good = *colon == ':' && second == std::errc() && rest == end && steps.last >= steps.first;
  }
  check_input(good, "--trace-steps: found '", words, "', expected FIRST:LAST, steps counted from 1, as 100:120");
  return steps;
}

void write_trace(const std::string& path, const Trace& trace, Worker& worker, const std::vector<WorkerPlace>& places) {
  Communicator& communicator = worker.communicator();
  const auto rank = static_cast<std::size_t>(communicator.rank());
  const std::vector<std::int64_t> shifts = clock_shifts(communicator);
  const auto all = gather_texts(communicator, trace.to_events(communicator.rank(), title_of(places.at(rank)), shifts[rank]),
                                "trace");
  together(communicator, [&] {
    if (rank != 0) return;
    std::string events;
    for (const std::string& mine : all) events += (events.empty() ? "" : ",\n") + mine;
    write(path, events);
  });
}

void write_own_trace(const std::string& path, const Trace& trace, const WorkerPlace& place) {
  write(path, trace.to_events(place.rank, title_of(place), 0));
}

}  // namespace lockstep
