// Fills the next batch on a background thread while the caller works on the last one (two buffers).
// For samples that are large or converted in each fill; small ones cost less than the hand-over
// (Loader::fill).
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "datasets/loader.h"

namespace lockstep {

// One batch's part for this worker, in memory of the prefetcher.
struct PrefetchedBatch {
  std::int64_t epoch = 0;
  std::int64_t batch = 0;
  std::int64_t batch_size = 0;  // of the global batch
  SampleRange range;            // this worker's part of it
  BatchBuffers buffers;
};

class Prefetcher {
 public:
  // This worker's part of a batch of that many samples. Called on the background thread.
  using RangeOf = std::function<SampleRange(std::int64_t batch_size)>;

  // REQUIRES: the loader outlives the prefetcher and is not used by others meanwhile.
  Prefetcher(Loader& loader, RangeOf range_of);
  ~Prefetcher();
  Prefetcher(const Prefetcher&) = delete;
  Prefetcher& operator=(const Prefetcher&) = delete;

  // Begins to fill from that batch on, without end: epoch after epoch. What was filled ahead is
  // forgotten.
  void start(std::int64_t epoch, std::int64_t batch);

  // The next batch; valid until next() or start() is called again. Rethrows what went wrong in
  // filling it. REQUIRES: start() was called.
  const PrefetchedBatch& next();

  // Seconds spent waiting in next() so far.
  double seconds_waited() const { return seconds_waited_; }

 private:
  struct Slot {
    PrefetchedBatch batch;
    std::vector<std::vector<std::byte>> inputs;
    std::vector<std::byte> target;
    std::vector<float> weights;
    std::vector<std::int64_t> samples;
    bool filled = false;
  };

  void run();
  void fill(Slot& slot);
  void reserve(Slot& slot, std::int64_t samples);
  void stop();

  Loader& loader_;
  RangeOf range_of_;
  Slot slots_[2];
  int taken_ = -1;                      // the slot that the caller has, -1 before the first next()
  std::int64_t epoch_ = 0, batch_ = 0;  // what is filled next
  bool stopping_ = false;
  std::exception_ptr failure_;
  double seconds_waited_ = 0;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::thread thread_;
};

}  // namespace lockstep
