#include "bench/gpu/launch_timer.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace lockstep::bench {
namespace {

constexpr std::int64_t kMostLaunches = 512;  // in one recording
constexpr double kCacheBytes =
    192 * 1048576.0;  // several times the second-level cache of any GPU of today
constexpr std::int64_t kMostSets = 64;

class Stopwatch {
 public:
  explicit Stopwatch(Device& device)
      : device_(device), begin_(device.make_event(true)), end_(device.make_event(true)) {}

  double seconds(Recording& recording, int replays) {
    begin_->record(StreamKind::kCompute);
    for (int i = 0; i < replays; ++i) recording.launch();
    end_->record(StreamKind::kCompute);
    device_.synchronize();
    return std::max(end_->seconds_since(*begin_), 1e-7);  // the clock of events has steps
  }

 private:
  Device& device_;
  std::unique_ptr<Event> begin_, end_;
};

}  // namespace

std::int64_t sets_of_buffers(double bytes) {
  return std::clamp(static_cast<std::int64_t>(std::ceil(kCacheBytes / std::max(bytes, 1.0))),
                    std::int64_t{1}, kMostSets);
}

LaunchTime time_launches(Device& device, std::int64_t sets,
                         const std::function<void(std::int64_t)>& launch,
                         const TimerOptions& options) {
  const auto record = [&](std::int64_t launches) {
    return device.record([&] {
      for (std::int64_t i = 0; i < launches; ++i) launch(i);
    });
  };
  launch(0);  // what a first launch sets up must not be recorded
  device.synchronize();
  Stopwatch stopwatch(device);
  auto recording = record(sets);
  stopwatch.seconds(*recording, 1);  // warms up
  const double guess = stopwatch.seconds(*recording, 1) / static_cast<double>(sets);
  const auto rounds =
      static_cast<std::int64_t>(options.recording_seconds / (guess * static_cast<double>(sets)));
  const std::int64_t launches =
      sets * std::clamp(rounds, std::int64_t{1}, std::max(kMostLaunches / sets, std::int64_t{1}));
  if (launches != sets) recording = record(launches);
  const double replay = stopwatch.seconds(*recording, 1);
  const int replays = std::clamp(static_cast<int>(options.sample_seconds / replay), 1, 50);
  std::vector<double> samples;
  for (int i = 0; i < options.samples; ++i) {
    samples.push_back(stopwatch.seconds(*recording, replays) /
                      static_cast<double>(replays * launches));
  }
  std::ranges::sort(samples);
  const double median = samples[samples.size() / 2];
  return {median, (samples.back() - samples.front()) / median};
}

}  // namespace lockstep::bench
