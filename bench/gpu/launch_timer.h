// Seconds of one launch on a device that queues work, measured by replays of a recording of many.
#pragma once

#include <cstdint>
#include <functional>

#include "core/device/device.h"

namespace lockstep::bench {

struct LaunchTime {
  double seconds = 0;  // of one launch: the median of the samples
  double spread = 0;   // between the fastest and the slowest sample, as a part of the median
};

struct TimerOptions {
  int samples = 5;
  double sample_seconds = 4e-3;     // of each, about
  double recording_seconds = 1e-3;  // of one replay, about: long beside its launch
};

// `launch(i)` queues launch i on the compute stream, and is called with i = 0, 1, ...: it takes
// another set of buffers for each i modulo `sets`, so that the cache holds nothing of what a launch
// reads.
LaunchTime time_launches(Device& device, std::int64_t sets,
                         const std::function<void(std::int64_t)>& launch,
                         const TimerOptions& options = {});

// How many sets of buffers of `bytes` each there have to be.
std::int64_t sets_of_buffers(double bytes);

}  // namespace lockstep::bench
