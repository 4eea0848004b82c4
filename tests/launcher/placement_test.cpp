#include "launcher/placement.h"

#include <gtest/gtest.h>

#include "core/base/error.h"
#include "dist/agree.h"
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

// ---- GPUs ----------------------------------------------------------------------------------------

// Names are uuids; buses are made of them.
std::vector<VisibleGpu> gpus(const std::vector<std::string>& names) {
  std::vector<VisibleGpu> out;
  for (const std::string& name : names) out.push_back({"GPU-" + name, "0000:" + name + ":00.0"});
  return out;
}

WorkerPlace on(int rank, const std::string& host, const std::vector<std::string>& names, const Cores& cores = {0, 1, 2, 3}) {
  return {rank, host, 1, cores, gpus(names)};
}

std::vector<int> chosen(std::vector<WorkerPlace> places, bool may_share = false) {
  choose_gpus(places, may_share);
  std::vector<int> out;
  for (const WorkerPlace& place : places) out.push_back(place.gpu);
  return out;
}

std::string refused(std::vector<WorkerPlace> places) {
  try {
    choose_gpus(places, false);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kBadInput);
    return error.what();
  }
  return "";
}

TEST(Placement, WorkersOfAHostTakeGpusInOrder) {
  EXPECT_EQ(chosen({on(0, "a", {"1b", "1c"}), on(1, "b", {"1d", "1e"}), on(2, "a", {"1b", "1c"}), on(3, "b", {"1d", "1e"})}),
            (std::vector<int>{0, 0, 1, 1}));
  EXPECT_EQ(chosen({on(0, "a", {"1b", "1c", "1d"})}), (std::vector<int>{0}));
  EXPECT_EQ(chosen({on(0, "a", {}), on(1, "a", {})}), (std::vector<int>{-1, -1}));
}

TEST(Placement, WhomTheLauncherGivesItsOwnTakesThat) {
  EXPECT_EQ(chosen({on(0, "a", {"1b"}), on(1, "a", {"1c"}), on(2, "a", {"1d"})}), (std::vector<int>{0, 0, 0}));
  // Lists that overlap: who has one only gets it.
  EXPECT_EQ(chosen({on(0, "a", {"1b", "1c"}), on(1, "a", {"1b"}), on(2, "a", {"1c", "1d"})}), (std::vector<int>{1, 0, 1}));
}

TEST(Placement, TwoWorkersOnOneGpuAreRefused) {
  EXPECT_EQ(refused({on(0, "a", {"1b"}), on(1, "b", {"1c"}), on(2, "b", {"1c"})}),
            "ranks 1 and 2 on b would compute on one GPU (0000:1c:00.0), for b has 1 GPU for 2 workers; start at most 1 there "
            "(lockstep launch --hosts b:1), or let workers share a GPU with run.share_gpu = true");
  EXPECT_EQ(refused({on(0, "a", {"1b"}), on(1, "a", {"1b"}), on(2, "a", {"1c", "1d", "1e"})}),
            "ranks 0 and 1 on a would compute on one GPU (0000:1b:00.0), for their launcher shows them no other; give each its own "
            "(srun --gpus-per-task=1), or let workers share a GPU with run.share_gpu = true");
  // The hosts of two containers have different names, but the GPU is one.
  EXPECT_NE(refused({on(0, "a", {"1b"}), on(1, "b", {"1b"})}), "");
}

TEST(Placement, WhereTheyMayShareTheyTakeTurns) {
  std::vector<WorkerPlace> places;
  for (int rank = 0; rank < 5; ++rank) places.push_back(on(rank, "a", {"1b", "1c"}));
  EXPECT_EQ(chosen(places, true), (std::vector<int>{0, 1, 0, 1, 0}));
  choose_gpus(places, true);
  const GpuPlace first = gpu_place(places, 4), second = gpu_place(places, 1);
  EXPECT_EQ(first.index, 0);
  EXPECT_EQ(first.workers, 3);
  EXPECT_EQ(second.workers, 2);
  EXPECT_TRUE(first.any_shared && second.any_shared);
}

TEST(Placement, OneSharedGpuIsKnownToAll) {
  std::vector<WorkerPlace> places{on(0, "a", {"1b"}), on(1, "b", {"1c"}), on(2, "b", {"1c"})};
  choose_gpus(places, true);
  EXPECT_EQ(gpu_place(places, 0).workers, 1);
  EXPECT_TRUE(gpu_place(places, 0).any_shared);
  places.pop_back();
  EXPECT_FALSE(gpu_place(places, 0).any_shared);
}

TEST(Placement, CoresNearAGpuAreReadFromTheSystem) {
  const auto cores = [](const std::string& text) {
    return cores_near_gpu("0000:1b:00.0", [&](const std::string& path) {
      EXPECT_EQ(path, "/sys/bus/pci/devices/0000:1b:00.0/local_cpulist");
      return text;
    });
  };
  EXPECT_EQ(cores("0-2,8,10-11\n"), (Cores{0, 1, 2, 8, 10, 11}));
  EXPECT_EQ(cores(""), Cores{});
  EXPECT_EQ(cores("\n"), Cores{});
  EXPECT_EQ(cores("3-x"), Cores{});
  EXPECT_EQ(cores("0-99999999"), Cores{});
}

TEST(Placement, WorkersGetCoresNearTheirGpu) {
  const Cores all{0, 1, 2, 3, 4, 5, 6, 7};
  // Cores 0-1 and 4-5 are of one NUMA node, the others of the other.
  const CoresNear near = [](const std::string& bus) { return bus == "0000:1b:00.0" ? Cores{0, 1, 4, 5, 9} : Cores{2, 3, 6, 7}; };
  std::vector<WorkerPlace> places{on(0, "a", {"1b", "1c"}, all), on(1, "a", {"1b", "1c"}, all)};
  choose_gpus(places, false);
  EXPECT_EQ(share_of_cores(places, 0, 1, near), (Cores{0, 1, 4, 5}));
  EXPECT_EQ(share_of_cores(places, 1, 4, near), (Cores{2, 3, 6, 7}));
  // Not enough near ones: as without GPUs.
  EXPECT_EQ(share_of_cores(places, 1, 5, near), all);
  // Two of one node share it.
  places.push_back(on(2, "a", {"1b", "1c"}, all));
  choose_gpus(places, true);
  EXPECT_EQ(share_of_cores(places, 0, 2, near), (Cores{0, 1}));
  EXPECT_EQ(share_of_cores(places, 2, 2, near), (Cores{4, 5}));
  EXPECT_EQ(share_of_cores(places, 1, 2, near), (Cores{2, 3, 6, 7}));
  // One node of few cores: all cores are divided by rank.
  EXPECT_EQ(share_of_cores(places, 1, 1, [](const std::string&) { return Cores{0, 1}; }), (Cores{2, 3}));
  // Nothing is known.
  EXPECT_EQ(share_of_cores(places, 1, 1, [](const std::string&) { return Cores{}; }), (Cores{2, 3}));
}

TEST(Placement, TableTellsGpus) {
  std::vector<WorkerPlace> places{on(0, "a", {"1b", "1c"}), on(1, "a", {"1b", "1c"})};
  choose_gpus(places, false);
  EXPECT_EQ(to_table(places, "cuda"),
            "  rank  host  process  device                cores\n"
            "     0  a           1  cuda 0, 0000:1b:00.0  0-3\n"
            "     1  a           1  cuda 1, 0000:1c:00.0  0-3\n");
}

TEST(Placement, GpusOfAllRanksAreGathered) {
  testing::run_world(3, [](std::unique_ptr<Communicator> communicator) {
    const auto all = gpus({"1b", "1c"});
    const auto places = place_workers(*communicator, {.gpus = all, .may_share_gpu = true});
    ASSERT_EQ(places.size(), 3u);
    EXPECT_EQ(places[1].gpus, all);
    EXPECT_EQ(places[1].gpu, 1);
    EXPECT_EQ(places[2].gpu, 0);
    EXPECT_FALSE(places[0].cores.empty());
  });
}

TEST(Placement, ASharedGpuIsRefusedByAllRanks) {
  testing::run_world(2, [](std::unique_ptr<Communicator> communicator) {
    EXPECT_THROW(place_workers(*communicator, {.gpus = gpus({"1b"})}), SharedError);
  });
}

// ---- What is told ----------------------------------------------------------------------------------

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
