// How often, how soon and on which hosts a training is started again.
#include "launcher/restart_policy.h"

#include <gtest/gtest.h>

namespace lockstep {
namespace {

std::vector<std::string> names(const RestartPolicy& policy) {
  std::vector<std::string> out;
  for (const Host& host : policy.hosts()) out.push_back(host.name);
  return out;
}

TEST(RestartPolicy, TheFirstComesAtOnceTheOthersAfterGrowingPauses) {
  RestartPolicy policy({.most = 9, .window = 1000}, {});
  std::vector<double> pauses;
  while (const auto restart = policy.next(5)) {
    pauses.push_back(restart->pause);
    EXPECT_EQ(restart->number, static_cast<std::int64_t>(pauses.size()));
  }
  EXPECT_EQ(pauses, (std::vector<double>{0, 1, 2, 4, 8, 16, 32, 60, 60}));
  EXPECT_FALSE(RestartPolicy({.most = 0}, {}).next(0));
}

TEST(RestartPolicy, WhatLiesBeforeTheWindowDoesNotCount) {
  RestartPolicy policy({.most = 2, .window = 100}, {});
  EXPECT_EQ(policy.next(0)->pause, 0);
  EXPECT_EQ(policy.next(60)->number, 2);
  EXPECT_FALSE(policy.next(99));
  const auto later = policy.next(101);  // the first one is out of sight
  ASSERT_TRUE(later);
  EXPECT_EQ(later->number, 2);
  EXPECT_EQ(later->pause, 1);
  EXPECT_EQ(policy.next(500)->pause, 0);
}

TEST(RestartPolicy, AHostThatFailedTwiceIsLeftOut) {
  RestartPolicy policy({.most = 9, .window = 100}, {{"h1", 4}, {"h2.example.org", 4}, {"h3", 4}});
  EXPECT_FALSE(policy.note_failure(0, "h2"));
  EXPECT_FALSE(policy.note_failure(1, "h3"));
  EXPECT_FALSE(policy.note_failure(2, ""));  // nobody is known
  EXPECT_FALSE(policy.note_failure(2, ""));
  EXPECT_FALSE(policy.note_failure(2, "stranger"));
  EXPECT_FALSE(policy.note_failure(2, "stranger"));
  EXPECT_TRUE(policy.note_failure(3, "h2"));
  EXPECT_EQ(names(policy), (std::vector<std::string>{"h1", "h3"}));
  EXPECT_FALSE(policy.note_failure(4, "h2"));
  // h3 failed once long ago.
  EXPECT_FALSE(policy.note_failure(200, "h3"));
  EXPECT_TRUE(policy.note_failure(201, "h3"));
  EXPECT_TRUE(policy.has_hosts());
  policy.note_failure(202, "h1");
  EXPECT_TRUE(policy.note_failure(203, "h1"));
  EXPECT_FALSE(policy.has_hosts());
}

TEST(RestartPolicy, TheOnlyHostOfARunIsKept) {
  RestartPolicy one({.most = 9, .window = 100}, {{"localhost", 4}});
  for (int i = 0; i < 5; ++i) EXPECT_FALSE(one.note_failure(i, "localhost"));
  EXPECT_FALSE(one.leave_out("localhost"));
  EXPECT_TRUE(one.has_hosts());
  EXPECT_EQ(one.hosts().size(), 1u);
  EXPECT_TRUE(RestartPolicy({.most = 1}, {}).has_hosts());
}

TEST(RestartPolicy, AHostThatIsGoneIsLeftOutAtOnce) {
  RestartPolicy policy({.most = 9, .window = 100}, {{"h1"}, {"h2"}});
  EXPECT_FALSE(policy.leave_out("h3"));
  EXPECT_TRUE(policy.leave_out("h2"));
  EXPECT_FALSE(policy.leave_out("h2"));
  EXPECT_EQ(names(policy), (std::vector<std::string>{"h1"}));
}

}  // namespace
}  // namespace lockstep
