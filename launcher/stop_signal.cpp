#include "launcher/stop_signal.h"

#include <pthread.h>

#include <csignal>

namespace lockstep {
namespace {

volatile std::sig_atomic_t arrived_signals = 0;
constexpr int kSignals[] = {SIGTERM, SIGINT, SIGUSR1};

extern "C" void note_signal(int signal) {
  arrived_signals = arrived_signals + 1;
  std::signal(signal, SIG_DFL);  // the next one ends the process
}

sigset_t signal_set() {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : kSignals) sigaddset(&set, signal);
  return set;
}

}  // namespace

SignalThread::SignalThread() {
  sigset_t all;
  sigfillset(&all);
  // The thread begins with all blocked, and lets only its own through.
  pthread_sigmask(SIG_BLOCK, &all, &before_);
  thread_ = std::thread([this] {
    const sigset_t own = signal_set();
    pthread_sigmask(SIG_UNBLOCK, &own, nullptr);
    std::unique_lock lock(mutex_);
    ready_ = true;
    changed_.notify_all();
    changed_.wait(lock, [this] { return ending_; });
  });
  sigset_t others = before_;
  for (const int signal : kSignals) sigaddset(&others, signal);
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return ready_; });
  pthread_sigmask(SIG_SETMASK, &others, nullptr);
}

SignalThread::~SignalThread() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  changed_.notify_all();
  thread_.join();
  pthread_sigmask(SIG_SETMASK, &before_, nullptr);
}

StopSignal::StopSignal() {
  arrived_signals = 0;
  for (const int signal : kSignals) std::signal(signal, note_signal);
}

StopSignal::~StopSignal() {
  for (const int signal : kSignals) std::signal(signal, SIG_DFL);
}

bool StopSignal::arrived() const { return arrived_signals != 0; }

}  // namespace lockstep
