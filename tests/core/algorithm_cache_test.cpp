#include "core/device/algorithm_cache.h"

#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "core/base/error.h"
#include "core/base/file.h"
#include "tests/core/temporary_directory.h"

namespace lockstep {
namespace {

const std::string kHere = "GPU A, cuDNN 9.19.0", kThere = "GPU B, cuDNN 9.19.0";

TEST(AlgorithmCache, ChoosesTheFirstOnceForEachProblem) {
  AlgorithmCache cache(kHere);
  int asked = 0;
  const Proposals proposals{.list =
                                [&](std::size_t most) {
                                  EXPECT_EQ(most, 1u);
                                  return std::vector{text("engine ", ++asked)};
                                },
                            .seconds = [](const std::string&) -> double { broken_invariant("nothing is measured"); }};
  EXPECT_EQ(cache.find("conv2d 3x3"), nullptr);
  EXPECT_EQ(cache.choose("conv2d 3x3", proposals), "engine 1");
  EXPECT_EQ(cache.choose("conv2d 3x3", proposals), "engine 1");
  EXPECT_EQ(cache.choose("conv2d 1x1", proposals), "engine 2");
  EXPECT_EQ(asked, 2);
  EXPECT_EQ(cache.size(), 2u);
  cache.keep("conv2d 3x3", "engine 7");
  EXPECT_EQ(cache.choose("conv2d 3x3", proposals), "engine 7");
}

TEST(AlgorithmCache, AChoiceThatFailsIsNotKept) {
  AlgorithmCache cache(kHere);
  EXPECT_THROW(cache.choose("p", {.list = [](std::size_t) -> std::vector<std::string> { bad_input("none"); }}), Error);
  EXPECT_EQ(cache.find("p"), nullptr);
}

TEST(AlgorithmCache, WhereThereIsNothingThatIsKeptToo) {
  AlgorithmCache cache(kHere);
  int asked = 0;
  const Proposals none{.list = [&](std::size_t) {
    ++asked;
    return std::vector<std::string>{};
  }};
  EXPECT_EQ(cache.choose("p", none), "");
  EXPECT_EQ(cache.choose("p", none), "");
  EXPECT_EQ(asked, 1);
}

// Three proposals, of which the second is the fastest.
struct Measured {
  int times = 0;
  Proposals proposals{.list =
                          [](std::size_t most) {
                            std::vector<std::string> all{"a", "b", "c"};
                            all.resize(std::min(most, all.size()));
                            return all;
                          },
                      .seconds =
                          [this](const std::string& choice) {
                            ++times;
                            return choice == "b" ? 1.0 : 2.0;
                          }};
};

TEST(AlgorithmCache, TheFastestIsMeasuredWhereThatIsAllowed) {
  Measured measured;
  AlgorithmCache cache(kHere);
  EXPECT_EQ(cache.choose("p", measured.proposals), "a");
  cache.take_fastest(true);
  EXPECT_EQ(cache.find("p"), nullptr);  // by this rule
  EXPECT_EQ(cache.choose("p", measured.proposals), "a");
  EXPECT_EQ(cache.find("p"), nullptr);
  EXPECT_EQ(measured.times, 0);
  EXPECT_EQ(cache.take_unmeasured(), std::set<std::string>{"p"});
  EXPECT_EQ(cache.take_unmeasured(), std::set<std::string>{});
  cache.measure_for(100);
  EXPECT_EQ(cache.choose("p", measured.proposals), "b");
  EXPECT_GT(measured.times, 0);
  measured.times = 0;
  cache.measure_for(0);
  EXPECT_EQ(cache.choose("p", measured.proposals), "b");
  EXPECT_EQ(measured.times, 0);
  EXPECT_EQ(cache.take_unmeasured(), std::set<std::string>{});
  cache.take_fastest(false);
  EXPECT_EQ(cache.choose("p", measured.proposals), "a");
}

TEST(AlgorithmCache, OneProblemIsMeasuredHoweverLateItComes) {
  Measured measured;
  AlgorithmCache cache(kHere);
  cache.take_fastest(true);
  cache.measure_for(1e-3);
  std::this_thread::sleep_for(std::chrono::milliseconds(2));  // kernels with known algorithms are made first
  EXPECT_EQ(cache.choose("p", measured.proposals), "b");
  std::this_thread::sleep_for(std::chrono::milliseconds(2));
  EXPECT_EQ(cache.choose("q", measured.proposals), "a");
  EXPECT_EQ(cache.take_unmeasured(), std::set<std::string>{"q"});
}

TEST(AlgorithmCache, WhatWasMeasuredGoesToOthersAsText) {
  Measured measured;
  AlgorithmCache cache(kHere), other(kHere);
  cache.take_fastest(true);
  cache.measure_for(100);
  cache.choose("p", measured.proposals);
  std::string why;
  EXPECT_TRUE(other.add_text(cache.to_text(), why)) << why;
  EXPECT_EQ(other.find("p"), nullptr);  // it takes the first
  other.take_fastest(true);
  ASSERT_NE(other.find("p"), nullptr);
  EXPECT_EQ(*other.find("p"), "b");
}

TEST(FastestOf, OnlyWhatIsClearlyFasterWins) {
  const auto fastest = [](std::map<std::string, double> seconds) {
    std::vector<std::string> choices;
    for (const auto& [choice, time] : seconds) choices.push_back(choice);
    return fastest_of(choices, [&](const std::string& choice) { return seconds.at(choice); });
  };
  EXPECT_EQ(fastest({{"a", 1.0}}), "a");
  EXPECT_EQ(fastest({{"a", 1.0}, {"b", 0.96}}), "a");
  EXPECT_EQ(fastest({{"a", 1.0}, {"b", 0.94}}), "b");
  EXPECT_EQ(fastest({{"a", 1.0}, {"b", 0.94}, {"c", 0.9}}), "b");
  EXPECT_EQ(fastest({{"a", 3.0}, {"b", 2.0}, {"c", 1.0}}), "c");
}

TEST(FastestOf, WhatFailsIsNotTaken) {
  const auto seconds = [](const std::string& choice) -> double {
    if (choice != "works") environment_failed(choice, " is not supported");
    return 1;
  };
  EXPECT_EQ(fastest_of({"a", "works", "b"}, seconds), "works");
  EXPECT_EQ(fastest_of({"a", "b"}, seconds), "a");
}

TEST(FastestOf, OneSlowRoundDoesNotDecideAndTheHopelessAreDropped) {
  std::map<std::string, int> times;
  const auto seconds = [&](const std::string& choice) {
    const int time = ++times[choice];
    if (choice == "slow") return 1.6;
    if (choice == "disturbed") return time % 3 == 0 ? 5.0 : 0.8;
    return 1.0;
  };
  EXPECT_EQ(fastest_of({"steady", "disturbed", "slow"}, seconds), "disturbed");
  EXPECT_EQ(times["steady"], times["disturbed"]);
  EXPECT_EQ(times["slow"], 1);
}

TEST(AlgorithmCache, LivesInAFileWithThoseOfOtherEnvironments) {
  const TemporaryDirectory directory;
  const std::string path = directory.path("algorithms");
  std::string why = "?";
  {
    AlgorithmCache cache(kThere);
    EXPECT_FALSE(cache.load(path, why));
    EXPECT_EQ(why, "");  // there is none yet
    cache.keep("a", "there");
    cache.save(path);
  }
  {
    AlgorithmCache cache(kHere);
    EXPECT_TRUE(cache.load(path, why)) << why;
    EXPECT_EQ(cache.size(), 0u);
    EXPECT_EQ(cache.find("a"), nullptr);
    cache.keep("a", "here");
    cache.keep("b", "");
    cache.save(path);
  }
  AlgorithmCache here(kHere), there(kThere);
  here.keep("a", "known before");
  EXPECT_TRUE(here.load(path, why)) << why;
  EXPECT_TRUE(there.load(path, why)) << why;
  EXPECT_EQ(*here.find("a"), "known before");
  EXPECT_EQ(*here.find("b"), "");
  EXPECT_EQ(*there.find("a"), "there");
  EXPECT_EQ(there.find("b"), nullptr);
}

TEST(AlgorithmCache, TheFileIsTheSameWhateverCameFirst) {
  const TemporaryDirectory directory;
  AlgorithmCache forward(kHere), backward(kHere);
  for (int i = 0; i < 20; ++i) forward.keep(std::to_string(i), "x");
  for (int i = 19; i >= 0; --i) backward.keep(std::to_string(i), "x");
  forward.save(directory.path("1"));
  backward.save(directory.path("2"));
  EXPECT_EQ(local_files().read(directory.path("1")), local_files().read(directory.path("2")));
}

TEST(AlgorithmCache, ABrokenFileAddsNothingAndSaysWhy) {
  const TemporaryDirectory directory;
  const std::string path = directory.path("algorithms");
  AlgorithmCache cache(kHere);
  cache.keep("problem", "choice");
  cache.save(path);
  const std::string whole = local_files().read(path);
  const auto load = [&](const std::string& bytes) {
    local_files().write(path, bytes);
    AlgorithmCache other(kHere);
    std::string why;
    const bool loaded = other.load(path, why);
    EXPECT_EQ(loaded, why.empty());
    EXPECT_EQ(loaded, other.size() == 1);
    return loaded;
  };
  EXPECT_TRUE(load(whole));
  for (std::size_t length = 0; length < whole.size(); ++length) EXPECT_FALSE(load(whole.substr(0, length)));
  for (std::size_t at = 0; at < whole.size(); ++at) {
    std::string changed = whole;
    changed[at] ^= 1;
    EXPECT_FALSE(load(changed)) << at;
  }
  EXPECT_FALSE(load(whole + "\n"));
}

TEST(AlgorithmCache, KeepsNoTextThatTheFileCannotHold) {
  AlgorithmCache cache(kHere);
  EXPECT_THROW(cache.keep("a\tb", ""), Error);
  EXPECT_THROW(cache.keep("a", "b\nc"), Error);
  EXPECT_THROW(AlgorithmCache("a\nb"), Error);
}

}  // namespace
}  // namespace lockstep
