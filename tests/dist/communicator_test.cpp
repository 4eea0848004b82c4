#include <gtest/gtest.h>

#include <mutex>

#include "core/base/error.h"
#include "dist/agree.h"
#include "tests/dist/world_of_threads.h"

namespace lockstep {
namespace {

using testing::run_world;

TEST(Communicator, AllGatherOfUnevenParts) {
  for (int world = 1; world <= 6; ++world) {
    run_world(world, [&](std::unique_ptr<Communicator> communicator) {
      const int rank = communicator->rank();
      std::vector<std::size_t> offsets{0};
      for (int r = 0; r < world; ++r) offsets.push_back(offsets.back() + r % 3);  // some are empty
      std::vector<unsigned char> data(offsets.back(), 255);
      for (std::size_t i = offsets[rank]; i < offsets[rank + 1]; ++i) data[i] = static_cast<unsigned char>(rank);
      all_gather(*communicator, data.data(), offsets, "test");
      for (int r = 0; r < world; ++r) {
        for (std::size_t i = offsets[r]; i < offsets[r + 1]; ++i) ASSERT_EQ(data[i], r);
      }
    });
  }
}

TEST(Communicator, GathersListsOfAnyLength) {
  run_world(4, [](std::unique_ptr<Communicator> communicator) {
    const int rank = communicator->rank();
    const auto all = gather_doubles(*communicator, std::vector<double>(rank, rank + 0.5), "test");
    for (int r = 0; r < 4; ++r) EXPECT_EQ(all[r], std::vector<double>(r, r + 0.5));
    EXPECT_EQ(gather_texts(*communicator, std::string(rank, 'x'), "test")[3], "xxx");
    barrier(*communicator, "test");
  });
}

TEST(Communicator, MissingRankIsNamedAfterTheDeadline) {
  try {
    run_world(2, [](std::unique_ptr<Communicator> communicator) {
      if (communicator->rank() == 0) barrier(*communicator, "barrier of the test");
    }, 0.1);
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kEnvironment);
    EXPECT_STREQ(error.what(), "barrier of the test: rank 0 waited 0.1 s for rank 1");
  }
}

TEST(Agree, NamesTheOddOneOut) {
  for (int odd = 0; odd < 4; ++odd) {
    try {
      run_world(4, [&](std::unique_ptr<Communicator> communicator) {
        const bool differs = communicator->rank() == odd;
        agree(*communicator, {{"version", "1"}, {"dataset", differs ? "bbb" : "aaa"}});
      });
      FAIL() << "no error";
    } catch (const Error& error) {
      EXPECT_EQ(std::string(error.what()), text("the workers disagree on the dataset: rank ", odd,
                                                " has bbb, the others have aaa"));
    }
  }
}

TEST(Agree, ErrorOfOneRankReachesAll) {
  std::mutex mutex;
  std::vector<std::string> messages;
  run_world(3, [&](std::unique_ptr<Communicator> communicator) {
    try {
      together(*communicator, [&] { check_input(communicator->rank() != 1, "no such file"); });
    } catch (const SharedError& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kBadInput);
      const std::lock_guard lock(mutex);
      messages.push_back(error.what());
    }
  });
  EXPECT_EQ(messages, std::vector<std::string>(3, "rank 1: no such file"));
}

TEST(Agree, CommonErrorIsToldWithoutRank) {
  try {
    run_world(3, [&](std::unique_ptr<Communicator> communicator) {
      together(*communicator, [] { bad_input("no such file"); });
    });
    FAIL() << "no error";
  } catch (const SharedError& error) {
    EXPECT_STREQ(error.what(), "no such file");
  }
}

}  // namespace
}  // namespace lockstep
