// Batches for one worker, filled ahead by threads while the worker computes. What a batch holds does not depend on the
// number of threads: each fills whole batches, and reads blocks when there is no batch to fill.
//
// With no thread of its own the queue fills a batch when it is asked for it: small samples that are only copied cost less
// than the hand-over.
//
// One thread calls start() and next().
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "core/device/device.h"
#include "datasets/loader.h"

namespace lockstep {

struct BatchQueueOptions {
  int threads = 0;        // that fill; 0: the caller's
  bool may_spin = false;  // there is a core for each of them and one for the caller: it may look before it sleeps
  // This worker's part of a batch of that many samples. Called by any thread.
  std::function<Range(std::int64_t batch_size)> range_of;
  Range microbatches = {};  // that this worker computes of a full batch: the lanes that it streams
  std::size_t memory = std::size_t{256} << 20;  // for blocks that are read ahead
};

// One batch's part for this worker.
struct FilledBatch {
  std::int64_t epoch = 0;
  std::int64_t batch = 0;
  std::int64_t batch_size = 0;  // of the global batch
  Range range;                  // this worker's part of it
  BatchBuffers buffers;         // in memory of the queue
};

class BatchQueue {
 public:
  // Buffers are the device's staging memory: copies to the device start from there. `loader` and `device` outlive the
  // queue.
  BatchQueue(const Loader& loader, Device& device, BatchQueueOptions options);
  ~BatchQueue();
  BatchQueue(const BatchQueue&) = delete;
  BatchQueue& operator=(const BatchQueue&) = delete;

  // Begins to fill from that batch on: `batches` of them, or without end, epoch after epoch, where it is below 0. What was
  // filled ahead is forgotten.
  void start(std::int64_t epoch, std::int64_t batch, std::int64_t batches = -1);
  bool started() const { return started_; }

  // The next batch; valid until next() or start() is called again. Rethrows what went wrong in filling it.
  // REQUIRES: start() was called; there is one more batch.
  const FilledBatch& next();

 private:
  struct Slot {
    FilledBatch batch;
    std::vector<Memory> inputs;
    Memory target, weights, samples;
    std::int64_t number = -1;  // of the batch it is for, counted from the start
    bool filled = false;
  };

  void stop();
  void run(std::size_t thread);
  // Fills a batch or reads a block; false where there is nothing to do now. `lock` is released meanwhile.
  bool work(std::unique_lock<std::mutex>& lock, Loader::Scratch& scratch);
  void tell_change();
  void wait_for_change(std::unique_lock<std::mutex>& lock);
  void reserve(Slot& slot, std::int64_t samples);

  const Loader& loader_;
  Device& device_;
  BatchQueueOptions options_;
  std::unique_ptr<BlockStream> stream_;
  std::vector<Slot> slots_;
  std::vector<Loader::Scratch> scratch_;  // of each thread; the first is the caller's where there is none
  bool started_ = false;
  std::int64_t epoch_ = 0, batch_ = 0;  // of the batch that is filled next
  std::int64_t to_fill_ = 0, end_ = 0;  // its number, and that of the last one and one more
  std::int64_t to_take_ = 0;            // number of the batch that next() gives
  std::atomic<std::uint64_t> changes_ = 0;  // of anything that work depends on; made under the mutex
  bool stopping_ = false;
  std::exception_ptr failure_;
  std::int64_t failed_at_ = 0;  // number of the batch that cannot be filled; those before can
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::thread> threads_;
};

}  // namespace lockstep
