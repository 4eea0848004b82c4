#include "core/device/work_stream.h"

#include "core/base/progress.h"

namespace lockstep {

WorkStream::~WorkStream() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  patience_.hurry();
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

WorkStream::Ticket WorkStream::submit(const Work& work) {
  if (!thread_.joinable()) {
    queue_.resize(kCapacity);
    patience_.relax();
    thread_ = std::thread([this] { run(); });
  }
  wait(submitted_ + 1 > kCapacity ? submitted_ + 1 - kCapacity : 0);
  {
    const std::lock_guard lock(mutex_);
    queue_[++submitted_ % kCapacity] = work;
  }
  changed_.notify_all();
  return submitted_;
}

void WorkStream::wait(Ticket ticket) {
  if (done(ticket)) return;
  std::unique_lock lock(mutex_);
  waiting_ = true;
  patience_.hurry();
  changed_.wait(lock, [&] { return done(ticket) || failure_; });
  waiting_ = false;
  if (failure_) std::rethrow_exception(failure_);
  // What is still under way waits in the background again.
  if (done_.load(std::memory_order_relaxed) != submitted_) patience_.relax();
}

void WorkStream::take_over() {
  wait_for_all();
  patience_.hurry();
}

void WorkStream::run() {
  Ticket next = 1;
  while (true) {
    Work work;
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [&] { return submitted_ >= next || ending_; });
      if (submitted_ < next) return;
      work = queue_[next % kCapacity];
      if (!waiting_) patience_.relax();
    }
    const std::int64_t begin = monotonic_nanoseconds();
    std::exception_ptr failure;
    try {
      work.run(work.context, work.index);
    } catch (...) {
      failure = std::current_exception();
    }
    busy_.fetch_add(monotonic_nanoseconds() - begin, std::memory_order_relaxed);
    {
      const std::lock_guard lock(mutex_);
      failure_ = failure;
      if (!failure) done_.store(next++, std::memory_order_release);
    }
    changed_.notify_all();
    if (failure) return;
  }
}

}  // namespace lockstep
