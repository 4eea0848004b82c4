// restarts.jsonl: what is added can be read, and what is no such file is refused.
#include "launcher/restart_log.h"

#include <gtest/gtest.h>

#include "core/base/clock.h"
#include "core/base/file.h"
#include "tests/core/temporary_directory.h"
#include "tests/launcher/message.h"

namespace lockstep {
namespace {

TEST(RestartLog, RecordsAreAdded) {
  const TemporaryDirectory directory;
  const std::string path = directory.path("restarts.jsonl");
  EXPECT_TRUE(read_restarts(path).empty());
  const RestartRecord first{.time = "2026-11-27T09:07:16Z",
                            .cause = "rank 1 on h2 (process 7) is \"gone\"",
                            .host = "h2",
                            .rank = 1,
                            .failed_step = 50,
                            .from_step = 40,
                            .left_out = {"h2", "h3"}};
  append_restart(path, first);
  append_restart(path, {.time = utc_now(), .cause = "the run ended with exit code 9", .pause = 1.0});
  const std::vector<RestartRecord> all = read_restarts(path);
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(to_line(all[0]), to_line(first));
  EXPECT_EQ(to_line(first),
            "{\"time\":\"2026-11-27T09:07:16Z\",\"cause\":\"rank 1 on h2 (process 7) is \\\"gone\\\"\","
            "\"host\":\"h2\",\"rank\":1,\"failed_step\":50,\"from_step\":40,\"pause\":0.0,"
            "\"left_out\":[\"h2\",\"h3\"]}\n");
  EXPECT_EQ(all[1].rank, -1);
  EXPECT_FALSE(all[1].from_step);
  EXPECT_EQ(all[1].pause, 1.0);
  EXPECT_EQ(all[1].time.size(), first.time.size());
}

TEST(RestartLog, AnotherFileIsRefusedWithItsLine) {
  const TemporaryDirectory directory;
  const std::string path = directory.path("restarts.jsonl");
  append_restart(path, {.time = "t", .cause = "c"});
  const std::string good = local_files().read(path);
  for (const char* bad : {"no json\n", "{\"time\":\"t\"}\n", "{\"time\":1}\n", "[]\n"}) {
    local_files().write_atomic(path, good + bad);
    EXPECT_TRUE(refused([&] { read_restarts(path); }).starts_with(path + ":2: not a line of a list of restarts: "));
  }
}

}  // namespace
}  // namespace lockstep
