#include "launcher/autotune.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <mutex>

#include "core/base/file.h"
#include "tests/core/temporary_directory.h"
#include "tests/dist/world_of_threads.h"

namespace lockstep {
namespace {

using testing::run_world;

const std::string kGpu = "a GPU, cuDNN 9.19.0";

// Workers whose kernels have these problems, by rank; every worker measures another algorithm as the fastest.
struct Machine {
  std::vector<std::set<std::string>> problems;
  std::mutex mutex;
  std::map<std::string, std::set<int>> measured_by = {};          // by problem
  std::map<int, std::map<std::string, std::string>> chosen = {};  // by rank, at last

  void make_kernels(AlgorithmCache& algorithms, int rank) {
    for (const std::string& problem : problems.at(static_cast<std::size_t>(rank))) {
      const auto seconds = [&](const std::string& choice) {
        const std::scoped_lock lock(mutex);
        measured_by[problem].insert(rank);
        return choice == text("of rank ", rank) ? 1.0 : 2.0;
      };
      const auto list = [](std::size_t most) {
        std::vector<std::string> all{"favourite", "of rank 0", "of rank 1", "of rank 2"};
        all.resize(std::min(most, all.size()));
        return all;
      };
      const std::string choice = algorithms.choose(problem, {.list = list, .seconds = seconds});
      const std::scoped_lock lock(mutex);
      chosen[rank][problem] = choice;
    }
  }

  // All workers; the sums of what each was told.
  Autotuned tune(const std::vector<std::string>& files) {
    Autotuned out;
    run_world(static_cast<int>(problems.size()), [&](std::unique_ptr<Communicator> communicator) {
      AlgorithmCache algorithms(kGpu);
      take_algorithms(*communicator, algorithms, files);
      const Autotuned told =
          autotune(*communicator, algorithms, [&] { make_kernels(algorithms, communicator->rank()); });
      const std::scoped_lock lock(mutex);
      if (communicator->rank() != 0) return;
      out = told;
      if (!files.empty()) algorithms.save(files.front());
    });
    return out;
  }
};

TEST(Autotune, OneWorkerMeasuresForAll) {
  Machine machine{.problems = {{"a", "b"}, {"a", "b"}, {"a", "b"}}, .mutex = {}};
  EXPECT_EQ(machine.tune({}).measured, 2u);
  for (int rank = 0; rank < 3; ++rank) {
    EXPECT_EQ(machine.chosen[rank]["a"], "of rank 0") << rank;
    EXPECT_EQ(machine.chosen[rank]["b"], "of rank 0") << rank;
  }
  EXPECT_EQ(machine.measured_by["a"], std::set{0});
}

TEST(Autotune, WhatOnlyOthersHaveIsMeasuredByThem) {
  Machine machine{.problems = {{"a"}, {"a", "b", "c"}, {"c", "d"}}, .mutex = {}};
  EXPECT_EQ(machine.tune({}).measured, 4u);
  EXPECT_EQ(machine.chosen[1], (std::map<std::string, std::string>{{"a", "of rank 0"}, {"b", "of rank 1"}, {"c", "of rank 1"}}));
  EXPECT_EQ(machine.chosen[2], (std::map<std::string, std::string>{{"c", "of rank 1"}, {"d", "of rank 2"}}));
  for (const auto& [problem, ranks] : machine.measured_by) EXPECT_EQ(ranks.size(), 1u) << problem;
}

TEST(Autotune, AFileGivesAnyNumberOfWorkersTheSameChoices) {
  const TemporaryDirectory directory;
  const std::string file = directory.path("algorithms");
  Machine first{.problems = {{}, {"a", "b"}}, .mutex = {}};  // the choices are those of rank 1
  EXPECT_EQ(first.tune({file}).measured, 2u);
  Machine later{.problems = {{"a"}, {"a"}, {"b", "c"}}, .mutex = {}};
  EXPECT_EQ(later.tune({file}).measured, 1u);
  EXPECT_EQ(later.chosen[0]["a"], "of rank 1");
  EXPECT_EQ(later.chosen[2]["b"], "of rank 1");
  EXPECT_EQ(later.chosen[2]["c"], "of rank 2");
  EXPECT_FALSE(later.measured_by.contains("a"));
}

TEST(Autotune, TheFirstFileCountsAndABrokenOneIsPassedOver) {
  const TemporaryDirectory directory;
  const std::string broken = directory.path("broken"), run = directory.path("run"), user = directory.path("user");
  local_files().write_atomic(broken, "lockstep algorithms 1\n");
  for (const std::string& path : {run, user}) {
    AlgorithmCache algorithms(kGpu);
    algorithms.take_fastest(true);
    algorithms.keep("a", path);
    algorithms.save(path);
  }
  Machine machine{.problems = {{"a"}}, .mutex = {}};
  run_world(1, [&](std::unique_ptr<Communicator> communicator) {
    AlgorithmCache algorithms(kGpu);
    take_algorithms(*communicator, algorithms, {"", broken, run, user});
    machine.make_kernels(algorithms, 0);
  });
  EXPECT_EQ(machine.chosen[0]["a"], run);
}

TEST(Autotune, AWorkerThatFailsIsTheErrorOfAll) {
  std::mutex mutex;
  int failed = 0;
  run_world(3, [&](std::unique_ptr<Communicator> communicator) {
    AlgorithmCache algorithms(kGpu);
    take_algorithms(*communicator, algorithms, {});
    try {
      autotune(*communicator, algorithms, [&] { check_input(communicator->rank() != 1, "no kernel"); });
    } catch (const Error& error) {
      const std::scoped_lock lock(mutex);
      failed += std::string(error.what()).find("no kernel") != std::string::npos;
    }
  });
  EXPECT_EQ(failed, 3);
}

TEST(Autotune, TheUsersFileKeepsWhatOthersPutThere) {
  const TemporaryDirectory directory;
  setenv("XDG_CACHE_HOME", directory.path("cache").c_str(), 1);
  EXPECT_EQ(user_algorithms(), directory.path("cache/lockstep/algorithms"));
  AlgorithmCache one(kGpu), other("another GPU");
  one.keep("a", "x");
  other.keep("a", "y");
  keep_for_user(one);
  keep_for_user(other);
  std::string why;
  AlgorithmCache all(kGpu);
  ASSERT_TRUE(all.load(user_algorithms(), why)) << why;
  EXPECT_EQ(*all.find("a"), "x");
  unsetenv("XDG_CACHE_HOME");
  setenv("HOME", "/home/somebody", 1);
  EXPECT_EQ(user_algorithms(), "/home/somebody/.cache/lockstep/algorithms");
}

}  // namespace
}  // namespace lockstep
