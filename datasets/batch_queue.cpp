#include "datasets/batch_queue.h"

#include <algorithm>
#include <chrono>
#include <limits>

#include "core/base/error.h"

namespace lockstep {

BatchQueue::BatchQueue(const Loader& loader, Device& device, BatchQueueOptions options)
    : loader_(loader), device_(device), options_(std::move(options)) {
  if (loader_.streams()) stream_ = loader_.make_stream(options_.microbatches, options_.memory);
  const auto threads = static_cast<std::size_t>(options_.threads);
  // One that the caller has, one that is ready, and one for each thread; without threads one is all.
  slots_.resize(threads == 0 ? 1 : threads + 2);
  scratch_.resize(std::max<std::size_t>(1, threads));
}

BatchQueue::~BatchQueue() {
  stop();
}

void BatchQueue::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

void BatchQueue::start(std::int64_t epoch, std::int64_t batch, std::int64_t batches) {
  stop();
  stopping_ = false;
  failure_ = nullptr;
  for (Slot& slot : slots_) {
    slot.number = -1;
    slot.filled = false;
  }
  epoch_ = epoch;
  batch_ = batch;
  to_fill_ = to_take_ = 0;
  end_ = batches < 0 ? std::numeric_limits<std::int64_t>::max() : batches;
  started_ = true;
  if (stream_) stream_->start(epoch, batch, batches);
  for (int t = 0; t < options_.threads; ++t) threads_.emplace_back(&BatchQueue::run, this, static_cast<std::size_t>(t));
}

void BatchQueue::run(std::size_t thread) {
  std::unique_lock lock(mutex_);
  while (!stopping_ && !failure_) {
    const std::uint64_t seen = changes_;
    if (work(lock, scratch_[thread])) continue;
    changed_.wait(lock, [&] { return changes_ != seen || stopping_ || failure_; });
  }
}

bool BatchQueue::work(std::unique_lock<std::mutex>& lock, Loader::Scratch& scratch) {
  Slot& slot = slots_[static_cast<std::size_t>(to_fill_) % slots_.size()];
  // The slot is free when the batch that it had was taken, and the caller has gone on to the next one.
  const bool free = to_fill_ < end_ && (slot.number < 0 || slot.number + 1 < to_take_ || options_.threads == 0);
  const bool ready = free && (!stream_ || stream_->ready(epoch_, batch_));
  if (!ready && !stream_) return false;
  if (ready) {
    slot.number = to_fill_++;
    slot.filled = false;
    slot.batch.epoch = epoch_;
    slot.batch.batch = batch_;
    if (++batch_ == loader_.batches()) {
      batch_ = 0;
      ++epoch_;
    }
  }
  bool worked = true;
  std::exception_ptr failure;
  const std::int64_t number = ready ? slot.number : to_fill_;
  lock.unlock();
  try {
    if (ready) {
      FilledBatch& batch = slot.batch;
      batch.batch_size = loader_.batch_size(batch.batch);
      batch.range = options_.range_of(batch.batch_size);
      reserve(slot, batch.range.size());
      loader_.fill(batch.epoch, batch.batch, batch.range, batch.buffers, scratch, stream_.get());
    } else {
      worked = stream_->read_one(scratch.reader);
    }
  } catch (...) {
    failure = std::current_exception();
  }
  lock.lock();
  if (ready && !failure) slot.filled = true;
  if (failure && (!failure_ || number < failed_at_)) {
    failure_ = failure;
    failed_at_ = number;
  }
  if (worked) tell_change();
  return worked;
}

// Whoever looked for work before this looks again. REQUIRES: the mutex is held.
void BatchQueue::tell_change() {
  ++changes_;
  changed_.notify_all();
}

// To wake the caller costs the thread that fills about as much as to fill a small batch.
void BatchQueue::wait_for_change(std::unique_lock<std::mutex>& lock) {
  constexpr auto kLooking = std::chrono::microseconds(200);
  const std::uint64_t seen = changes_;
  if (options_.may_spin) {
    const auto until = std::chrono::steady_clock::now() + kLooking;
    lock.unlock();
    while (changes_ == seen && std::chrono::steady_clock::now() < until) std::this_thread::yield();
    lock.lock();
  }
  changed_.wait(lock, [&] { return changes_ != seen; });
}

// Memory for the largest part so far.
void BatchQueue::reserve(Slot& slot, std::int64_t samples) {
  const auto at_least = [&](Memory& memory, std::size_t bytes_of_sample) {
    const std::size_t bytes = std::max<std::size_t>(1, static_cast<std::size_t>(samples) * bytes_of_sample);
    if (memory.bytes() < bytes) memory = device_.allocate(bytes, MemoryKind::kStaging);
    return memory.data();
  };
  const auto bytes_of = [](const Shape& shape, DType dtype) {
    return static_cast<std::size_t>(shape.elements()) * size_of(dtype);
  };
  const LoaderOptions& options = loader_.options();
  BatchBuffers& buffers = slot.batch.buffers;
  slot.inputs.resize(options.inputs.size());
  buffers.inputs.resize(options.inputs.size());
  for (std::size_t i = 0; i < slot.inputs.size(); ++i) {
    buffers.inputs[i] =
        at_least(slot.inputs[i], bytes_of(loader_.input_shape(static_cast<int>(i)), options.inputs[i].dtype));
  }
  if (!options.target.empty()) {
    buffers.target = at_least(slot.target, bytes_of(loader_.target_shape(), options.target_dtype));
  }
  if (!options.weights.empty()) buffers.weights = static_cast<float*>(at_least(slot.weights, sizeof(float)));
  buffers.samples = static_cast<std::int64_t*>(at_least(slot.samples, sizeof(std::int64_t)));
}

const FilledBatch& BatchQueue::next() {
  require(started_ && to_take_ < end_, "BatchQueue::next() before start() or after the last batch");
  std::unique_lock lock(mutex_);
  const std::int64_t number = to_take_++;
  Slot& slot = slots_[static_cast<std::size_t>(number) % slots_.size()];
  tell_change();  // the slot of the batch before is free
  while (!(slot.number == number && slot.filled)) {
    if (failure_ && number >= failed_at_) std::rethrow_exception(failure_);
    if (options_.threads > 0) {
      wait_for_change(lock);
    } else {
      require(work(lock, scratch_[0]), "a batch that cannot be filled");
    }
  }
  return slot.batch;
}

}  // namespace lockstep
