#include "core/base/progress.h"

#include <gtest/gtest.h>

#include <thread>

namespace lockstep {
namespace {

TEST(Progress, TellsPhaseStepAndSinceWhen) {
  Progress progress;
  const std::int64_t before = monotonic_nanoseconds();
  progress.begin_step(7);
  progress.enter(Phase::kBackward);
  const ProgressSnapshot seen = progress.snapshot();
  EXPECT_EQ(seen.phase, Phase::kBackward);
  EXPECT_EQ(seen.step, 7);
  EXPECT_GE(seen.since, before);
  EXPECT_STREQ(name_of(seen.phase), "backward");
}

TEST(Progress, EnteringThePhaseOnceMoreIsNoProgress) {
  Progress progress;
  progress.enter(Phase::kForward);
  const std::int64_t since = progress.snapshot().since;
  progress.enter(Phase::kForward);
  EXPECT_EQ(progress.snapshot().since, since);
}

TEST(Progress, KeepsTheLastCollectivesInOrder) {
  Progress progress;
  for (std::uint64_t i = 0; i < 20; ++i) {
    progress.begin_collective("reduce", i);
    if (i < 19) progress.end_collective();
  }
  const auto collectives = progress.snapshot().collectives;
  ASSERT_EQ(collectives.size(), Progress::kRing);
  EXPECT_EQ(collectives.front().number, 5u);
  EXPECT_EQ(collectives.back().number, 20u);
  EXPECT_EQ(collectives.back().bytes, 19u);
  EXPECT_EQ(collectives.back().ended, 0);
  EXPECT_GE(collectives.front().ended, collectives.front().begun);
}

TEST(Progress, MayBeReadWhileItIsWritten) {
  Progress progress;
  std::thread writer([&] {
    for (std::uint64_t i = 0; i < 20000; ++i) {
      progress.begin_collective("gather", i);
      progress.end_collective();
    }
  });
  for (int i = 0; i < 200; ++i) {
    for (const CollectiveRecord& record : progress.snapshot().collectives) {
      EXPECT_LE(record.number, 20000u);
    }
  }
  writer.join();
}

}  // namespace
}  // namespace lockstep
