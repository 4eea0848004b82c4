#include "launcher/placement.h"

#include <gtest/gtest.h>

#include "tests/dist/world_of_threads.h"

namespace lockstep {
namespace {

using Cores = std::vector<int>;

TEST(Placement, CoresAreDividedWhereNobodyHas) {
  const Cores all{0, 1, 2, 3, 4, 5, 6, 7};
  const std::vector<WorkerPlace> places = {{0, "a", 1, all}, {1, "b", 1, all}, {2, "a", 2, all}, {3, "a", 3, all}};
  EXPECT_EQ(share_of_cores(places, 0, 1), (Cores{0, 1}));
  EXPECT_EQ(share_of_cores(places, 2, 2), (Cores{2, 3}));
  EXPECT_EQ(share_of_cores(places, 3, 1), (Cores{4, 5}));
  EXPECT_EQ(share_of_cores(places, 1, 1), all);
  EXPECT_EQ(share_of_cores(places, 0, 3), all);  // not enough for all: nobody is bound
}

TEST(Placement, TheLaunchersChoiceIsKept) {
  const std::vector<WorkerPlace> places = {{0, "a", 1, {0}}, {1, "a", 2, {5}}};
  EXPECT_EQ(share_of_cores(places, 1, 1), (Cores{5}));
}

TEST(Placement, TellsWhereWorkersShareCores) {
  const std::vector<WorkerPlace> places = {{0, "a", 1, {0, 1}}, {1, "a", 2, {0, 1}}, {2, "b", 3, {0}}, {3, "b", 4, {0}}};
  EXPECT_TRUE(oversubscribed_hosts({places[0], places[1]}, 1).empty());
  const auto told = oversubscribed_hosts(places, 1);
  ASSERT_EQ(told.size(), 1u);
  EXPECT_TRUE(told[0].starts_with("b: 2 workers of 1 thread share 1 core: correct, but slower than 1 workers"));
  EXPECT_EQ(oversubscribed_hosts(places, 2).size(), 2u);
}

TEST(Placement, TableWritesRangesOfCores) {
  EXPECT_EQ(to_table({{0, "node1", 17, {0, 1, 2, 5}}, {1, "b", 4, {}}}, "cpu"),
            "  rank  host   process  device  cores\n"
            "     0  node1       17  cpu     0-2,5\n"
            "     1  b            4  cpu     \n");
}

TEST(Placement, OfAllRanksIsGathered) {
  testing::run_world(3, [](std::unique_ptr<Communicator> communicator) {
    const auto places = gather_places(*communicator);
    ASSERT_EQ(places.size(), 3u);
    const WorkerPlace mine = own_place(communicator->rank());
    for (int rank = 0; rank < 3; ++rank) {
      EXPECT_EQ(places[rank].rank, rank);
      EXPECT_EQ(places[rank].host, mine.host);
      EXPECT_EQ(places[rank].cores, mine.cores);
    }
    EXPECT_FALSE(mine.cores.empty());
  });
}

}  // namespace
}  // namespace lockstep
