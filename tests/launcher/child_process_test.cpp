// Programs that are started: how they end, what they say, and that nothing is left of them.
#include "launcher/child_process.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>
#include <sys/wait.h>

#include <chrono>
#include <thread>

namespace lockstep {
namespace {

FinishedChild shell(const std::string& script, double seconds = 10) {
  return run_child({"/bin/sh", "-c", script}, seconds);
}

TEST(ChildProcess, SaysAndEndsAsItDoes) {
  const FinishedChild good = shell("echo out; echo err >&2; read x || echo nothing to read");
  EXPECT_EQ(good.status.code, 0);
  EXPECT_EQ(good.output, "out\nerr\nnothing to read\n");
  EXPECT_EQ(shell("exit 7").status.code, 7);
  const FinishedChild killed = shell("kill -SEGV $$");
  EXPECT_EQ(killed.status.signal, SIGSEGV);
  EXPECT_EQ(killed.status.code, 128 + SIGSEGV);
  const FinishedChild absent = run_child({"/absent/program"}, 10);
  EXPECT_EQ(absent.status.code, 127);
  EXPECT_EQ(absent.output, "/absent/program: No such file or directory\n");
}

TEST(ChildProcess, MoreThanAPipeHolds) {
  const FinishedChild long_one =
      shell("i=0; while [ $i -lt 20000 ]; do echo 0123456789; i=$((i+1)); done");
  EXPECT_EQ(long_one.output.size(), 20000u * 11);
}

TEST(ChildProcess, IsEndedWhenItTakesTooLong) {
  const auto begin = std::chrono::steady_clock::now();
  const FinishedChild late = shell("trap '' TERM; echo begun; while :; do sleep 0.1; done", 0.5);
  EXPECT_TRUE(late.timed_out);
  EXPECT_EQ(late.status.signal, SIGKILL);
  EXPECT_EQ(late.output, "begun\n");
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(5));
}

TEST(ChildProcess, SeveralRunAtOnce) {
  const auto begin = std::chrono::steady_clock::now();
  const auto all = run_children({{"/bin/sh", "-c", "sleep 1; echo a"},
                                 {"/bin/sh", "-c", "sleep 1; echo b; exit 3"},
                                 {"/bin/sh", "-c", "sleep 1; echo c"}},
                                10);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::milliseconds(2800));
  EXPECT_EQ(all[0].output + all[1].output + all[2].output, "a\nb\nc\n");
  EXPECT_EQ(all[1].status.code, 3);
}

TEST(ChildProcess, WhatItLeavesIsFoundAndEnded) {
  // The grandchild leaves group and session, and its parent is gone.
  EXPECT_EQ(
      shell("setsid sh -c 'trap : TERM; while :; do sleep 1; done' >/dev/null 2>&1 & sleep 0.2")
          .status.code,
      0);
  EXPECT_GE(end_left_processes(0.1), 1);
  EXPECT_EQ(end_left_processes(0), 0);
}

TEST(ChildProcess, WhatTheShellHadStartedBeforeIsLeftAlone) {
  const pid_t earlier = fork();
  if (earlier == 0) {
    execl("/bin/sleep", "sleep", "100", nullptr);
    _exit(127);
  }
  const std::set<pid_t> inherited = living_children();
  EXPECT_TRUE(inherited.contains(earlier));
  EXPECT_EQ(shell("setsid sleep 100 >/dev/null 2>&1 & sleep 0.1").status.code, 0);
  EXPECT_EQ(end_left_processes(0, inherited), 1);
  EXPECT_EQ(waitpid(earlier, nullptr, WNOHANG), 0) << "it was ended";
  kill(earlier, SIGKILL);
  EXPECT_EQ(waitpid(earlier, nullptr, 0), earlier);
}

TEST(ChildProcess, ItsDescendantsAreKnown) {
  ChildProcess child({"/bin/sh", "-c", "sleep 100 & sleep 100"}, ChildOutput::kErrors);
  for (int i = 0; i < 200 && child.descendants().size() < 2; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  EXPECT_EQ(child.descendants().size(), 2u);
  child.kill_all();
  for (int i = 0; i < 200 && !child.ended(); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  ASSERT_TRUE(child.ended());
  EXPECT_EQ(child.ended()->signal, SIGKILL);
  EXPECT_EQ(end_left_processes(1), 0);
}

TEST(ChildProcess, OrphansAreBuriedWhileAnotherChildRuns) {
  ChildProcess other({"/bin/sh", "-c", "exit 7"}, ChildOutput::kErrors);
  shell("(setsid sleep 0.1 >/dev/null 2>&1 &)");
  std::this_thread::sleep_for(std::chrono::milliseconds(400));
  bury_orphans(other.process());
  ASSERT_TRUE(other.ended());
  EXPECT_EQ(other.ended()->code, 7);
  EXPECT_EQ(waitpid(-1, nullptr, WNOHANG), -1);  // nobody is left to wait for
}

TEST(ChildProcess, AShellReadsTheWordsAgain) {
  EXPECT_EQ(shell_line({"mpirun", "-n", "4", "it's", "", "a b", "layer.0.units=3"}),
            "mpirun -n 4 'it'\\''s' '' 'a b' layer.0.units=3");
  EXPECT_EQ(shell(shell_line({"printf", "%s|", "it's", "", "$HOME `x`"})).output,
            "it's||$HOME `x`|");
}

}  // namespace
}  // namespace lockstep
