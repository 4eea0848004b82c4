// Signals as a wish to stop, and which thread gets them.
#include "launcher/stop_signal.h"

#include <gtest/gtest.h>
#include <pthread.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <thread>

namespace lockstep {
namespace {

std::atomic<int> handled_by = 0;

extern "C" void note_thread(int) {
  handled_by = gettid();
}

template <typename Condition>
bool becomes_true(const Condition& condition) {
  for (int i = 0; i < 500 && !condition(); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return condition();
}

bool is_blocked_here(int signal) {
  sigset_t mask;
  pthread_sigmask(SIG_SETMASK, nullptr, &mask);
  return sigismember(&mask, signal) == 1;
}

TEST(StopSignal, ASignalArrives) {
  for (const int signal : {SIGTERM, SIGINT, SIGUSR1}) {
    const SignalThread signals;
    const StopSignal stop;
    EXPECT_FALSE(stop.arrived());
    kill(getpid(), signal);
    EXPECT_TRUE(becomes_true([&] { return stop.arrived(); })) << signal;
  }
}

TEST(StopSignal, ASecondOneEndsTheProcess) {
  EXPECT_EXIT(
      {
        const SignalThread signals;
        const StopSignal stop;
        kill(getpid(), SIGUSR1);
        if (becomes_true([&] { return stop.arrived(); })) kill(getpid(), SIGUSR1);
        std::this_thread::sleep_for(std::chrono::seconds(5));
      },
      ::testing::KilledBySignal(SIGUSR1), "");
}

// A handler on a thread that computes would write its frame into the data of a kernel.
TEST(SignalThread, GetsTheSignalsAndNobodyElse) {
  const SignalThread signals;
  std::signal(SIGUSR1, note_thread);
  std::atomic<bool> is_over = false, blocked = false;
  std::atomic<int> later = 0;
  std::thread computing([&] {
    later = gettid();
    blocked = is_blocked_here(SIGUSR1) && is_blocked_here(SIGTERM) && is_blocked_here(SIGINT);
    while (!is_over) {
    }
  });
  ASSERT_TRUE(becomes_true([&] { return later != 0; }));
  for (int i = 0; i < 100; ++i) {
    handled_by = 0;
    kill(getpid(), SIGUSR1);
    ASSERT_TRUE(becomes_true([&] { return handled_by != 0; }));
    EXPECT_NE(handled_by, gettid());
    EXPECT_NE(handled_by, later);
  }
  is_over = true;
  computing.join();
  EXPECT_TRUE(blocked);
  std::signal(SIGUSR1, SIG_DFL);
}

TEST(SignalThread, LeavesTheMaskAsItWas) {
  ASSERT_FALSE(is_blocked_here(SIGTERM));
  {
    const SignalThread signals;
    EXPECT_TRUE(is_blocked_here(SIGTERM));
    EXPECT_FALSE(is_blocked_here(SIGSEGV));
  }
  EXPECT_FALSE(is_blocked_here(SIGTERM));
}

}  // namespace
}  // namespace lockstep
