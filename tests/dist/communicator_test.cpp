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

TEST(Communicator, LargeMessagesGoBothWaysAtOnce) {
  run_world(3, [](std::unique_ptr<Communicator> communicator) {
    const int rank = communicator->rank();
    constexpr std::size_t kBytes = 300'001;  // far more than a mailbox holds
    std::vector<std::vector<unsigned char>> out(3), in(3);
    std::vector<Send> sends;
    std::vector<Receive> receives;
    for (int peer = 0; peer < 3; ++peer) {
      if (peer == rank) continue;
      out[peer].assign(kBytes, static_cast<unsigned char>(10 * rank + peer));
      in[peer].resize(kBytes);
      for (const int message : {0, 1}) {  // in two parts, in order
        const std::size_t begin = message * 1000, end = message == 0 ? 1000 : kBytes;
        sends.push_back({peer, out[peer].data() + begin, end - begin});
        receives.push_back({peer, in[peer].data() + begin, end - begin});
      }
    }
    communicator->exchange(sends, receives, "test");
    for (int peer = 0; peer < 3; ++peer) {
      if (peer == rank) continue;
      EXPECT_EQ(in[peer], std::vector<unsigned char>(kBytes, static_cast<unsigned char>(10 * peer + rank)));
    }
  });
}

// What is offered is read in its place, or from a copy where it is small; give_back waits for the readers.
TEST(Communicator, BorrowsFromNeighbours) {
  run_world(4, [](std::unique_ptr<Communicator> communicator) {
    const int rank = communicator->rank();
    for (int round = 0; round < 200; ++round) {
      const std::size_t count = round % 3 == 0 ? 10 : 5000;
      std::vector<float> mine(count, static_cast<float>(100 * round + rank));
      std::vector<Send> offers;
      std::vector<Borrow> borrows;
      for (int peer = 0; peer < 4; ++peer) {
        if (peer == rank) continue;
        offers.push_back({peer, mine.data(), count * sizeof(float)});
        borrows.push_back({peer, count * sizeof(float), nullptr});
      }
      communicator->borrow(offers, borrows, "test");
      for (const Borrow& borrow : borrows) {
        const auto* values = static_cast<const float*>(borrow.data);
        ASSERT_EQ(values[0], static_cast<float>(100 * round + borrow.from));
        ASSERT_EQ(values[count - 1], static_cast<float>(100 * round + borrow.from));
      }
      communicator->give_back("test");
      std::ranges::fill(mine, -1.0f);  // nobody reads it any more
    }
  });
}

TEST(Communicator, MessagesThatDoNotMatchAreAnError) {
  EXPECT_THROW(run_world(2, [](std::unique_ptr<Communicator> communicator) {
                 std::vector<std::byte> bytes(100);
                 const std::size_t size = communicator->rank() == 0 ? 10 : 20;
                 const Send send{1 - communicator->rank(), bytes.data(), size};
                 const Receive receive{1 - communicator->rank(), bytes.data() + 50, 15};
                 communicator->exchange({&send, 1}, {&receive, 1}, "test");
               }, 0.2),
               Error);
}

TEST(Communicator, MissingRankIsNamedAfterTheDeadline) {
  try {
    run_world(2, [](std::unique_ptr<Communicator> communicator) {
      if (communicator->rank() == 0) barrier(*communicator, "barrier of the test");
    }, 0.1);
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kEnvironment);
    EXPECT_TRUE(std::string(error.what()).starts_with("barrier of the test: rank 0 waited 0.1")) << error.what();
    EXPECT_TRUE(std::string(error.what()).ends_with(" s (run.deadline is 0.1) for rank 1")) << error.what();
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
