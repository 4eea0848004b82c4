#include "datasets/prefetch.h"

#include <chrono>

#include "core/base/error.h"

namespace lockstep {

Prefetcher::Prefetcher(Loader& loader, RangeOf range_of)
    : loader_(loader), range_of_(std::move(range_of)) {}

Prefetcher::~Prefetcher() {
  stop();
}

void Prefetcher::stop() {
  if (!thread_.joinable()) return;
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void Prefetcher::start(std::int64_t epoch, std::int64_t batch) {
  stop();
  stopping_ = false;
  failure_ = nullptr;
  taken_ = -1;
  for (Slot& slot : slots_) slot.filled = false;
  epoch_ = epoch;
  batch_ = batch;
  thread_ = std::thread(&Prefetcher::run, this);
}

void Prefetcher::run() {
  for (int at = 0;; at = 1 - at) {
    Slot& slot = slots_[at];
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [&] { return stopping_ || !slot.filled; });
      if (stopping_) return;
    }
    // The slot belongs to this thread until it is marked as filled.
    std::exception_ptr failure;
    try {
      fill(slot);
    } catch (...) {
      failure = std::current_exception();
    }
    {
      const std::lock_guard lock(mutex_);
      failure_ = failure;
      slot.filled = !failure;
    }
    changed_.notify_all();
    if (failure) return;
  }
}

void Prefetcher::fill(Slot& slot) {
  const std::int64_t size = loader_.batch_size(batch_);
  slot.batch.epoch = epoch_;
  slot.batch.batch = batch_;
  slot.batch.batch_size = size;
  slot.batch.range = range_of_(size);
  reserve(slot, slot.batch.range.size());
  loader_.fill(epoch_, batch_, slot.batch.range, slot.batch.buffers);
  if (++batch_ == loader_.batches()) {
    batch_ = 0;
    ++epoch_;
  }
}

void Prefetcher::reserve(Slot& slot, std::int64_t samples) {
  const LoaderOptions& options = loader_.options();
  const auto elements = [samples](const Shape& sample) {
    return static_cast<std::size_t>(samples * sample.elements());
  };
  BatchBuffers& buffers = slot.batch.buffers;
  slot.inputs.resize(options.inputs.size());
  buffers.inputs.resize(options.inputs.size());
  for (std::size_t i = 0; i < slot.inputs.size(); ++i) {
    slot.inputs[i].resize(elements(loader_.input_shape(static_cast<int>(i))) * 4);
    buffers.inputs[i] = slot.inputs[i].data();
  }
  if (!options.target.empty()) {
    slot.target.resize(elements(loader_.target_shape()) * 4);
    buffers.target = slot.target.data();
  }
  if (!options.weights.empty()) {
    slot.weights.resize(static_cast<std::size_t>(samples));
    buffers.weights = slot.weights.data();
  }
  slot.samples.resize(static_cast<std::size_t>(samples));
  buffers.samples = slot.samples.data();
}

const PrefetchedBatch& Prefetcher::next() {
  require(thread_.joinable(), "Prefetcher::next() before start()");
  std::unique_lock lock(mutex_);
  if (taken_ >= 0) slots_[taken_].filled = false;
  taken_ = taken_ < 0 ? 0 : 1 - taken_;
  changed_.notify_all();
  Slot& slot = slots_[taken_];
  if (!slot.filled && !failure_) {
    const auto begin = std::chrono::steady_clock::now();
    changed_.wait(lock, [&] { return slot.filled || failure_; });
    seconds_waited_ +=
        std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  }
  if (!slot.filled) std::rethrow_exception(failure_);
  return slot.batch;
}

}  // namespace lockstep
