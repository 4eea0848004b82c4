// A record of when what ran on a worker, for a picture of the whole run: spans of time with a name, on a few tracks.
//
// Recording costs a look at the clock and a few stores; what is not recorded costs one comparison. Memory is bounded: after
// kMostSpans nothing more is recorded. Several threads may record; names are made known before.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

namespace lockstep {

// Rows of the picture, for each worker.
enum class Track : std::uint8_t { kPhase, kCompute, kCommunication };
inline constexpr int kTracks = 3;
const char* name_of(Track track);

class Trace {
 public:
  static constexpr std::size_t kMostSpans = 500'000;

  struct Span {
    std::int32_t name = 0;
    Track track = Track::kPhase;
    std::int64_t begin = 0, end = 0;  // monotonic nanoseconds
  };

  // Records the steps [first, last], counted from 1.
  Trace(std::int64_t first, std::int64_t last) : first_(first), last_(last) {}

  // The number of a name, with the kernel that computes what it names; empty: none. Not for the inside of a step: it
  // allocates.
  std::int32_t name(const std::string& text, const std::string& kernel = "");
  // From now on `step` runs.
  void begin_step(std::int64_t step) { recording_.store(step >= first_ && step <= last_, std::memory_order_relaxed); }
  bool recording() const { return recording_.load(std::memory_order_relaxed); }
  void record(std::int32_t name, Track track, std::int64_t begin, std::int64_t end);

  // All spans as events of Chrome's trace format ("complete" events, and names of process and threads), one JSON object
  // after another with commas between; the kernel is among an event's "args". `process`: the number and the title of this worker; `shift` is added to its clock, in
  // nanoseconds.
  std::string to_events(int process, const std::string& title, std::int64_t shift) const;
  // Spans that had no room.
  std::size_t dropped() const { return dropped_; }

 private:
  const std::int64_t first_, last_;
  std::atomic<bool> recording_{false};
  mutable std::mutex mutex_;
  using Name = std::pair<std::string, std::string>;  // and its kernel
  std::map<Name, std::int32_t> numbers_;
  std::vector<Name> names_;
  std::vector<Span> spans_;
  std::size_t dropped_ = 0;
};

}  // namespace lockstep
