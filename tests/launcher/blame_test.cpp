// Who made a run fail, in the words of workers and of mpirun.
#include "launcher/blame.h"

#include <gtest/gtest.h>

#include "dist/watchdog.h"

namespace lockstep {
namespace {

TEST(Blame, AWatchdogNamesTheWorker) {
  FaultReport report;
  report.culprit = {.rank = 2, .host = "h1.example.org", .process = 4711, .phase = Phase::kBackward, .step = 120, .collectives = {}};
  report.why = "failed: step 7 of step 8";
  const auto blame = blame_in_fault("lockstep: " + report.to_string());
  ASSERT_TRUE(blame);
  EXPECT_EQ(blame->host, "h1.example.org");
  EXPECT_EQ(blame->rank, 2);
  EXPECT_EQ(blame->step, 120);
  report.culprit.step = 0;  // before the first step it is not told
  report.why = "is gone";
  EXPECT_EQ(blame_in_fault("lockstep: " + report.to_string())->step, 0);
}

TEST(Blame, OtherLinesNameNobody) {
  for (const char* line : {"lockstep: step 50: the loss is nan; it begins in dense on rank 1",
                           "lockstep: rank 1: no such file", "lockstep: rank x on h (process 1) is gone",
                           "rank 1 on h (process 1) is gone", "lockstep: rank 1 on h (process", ""}) {
    EXPECT_FALSE(blame_in_fault(line)) << line;
  }
}

TEST(Blame, MpirunNamesTheProcess) {
  const auto blame = blame_in_paragraph(
      "mpirun noticed that process rank 1 with PID 4711 on node h2 exited on signal 9 (Killed).");
  ASSERT_TRUE(blame);
  EXPECT_EQ(blame->host, "h2");
  EXPECT_EQ(blame->rank, 1);
  EXPECT_EQ(blame->step, 0);
  EXPECT_FALSE(blame_in_paragraph("There are not enough slots available in the system"));
  EXPECT_FALSE(blame_in_paragraph("a process rank 1 that ends early"));
}

}  // namespace
}  // namespace lockstep
