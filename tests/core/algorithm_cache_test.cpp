#include "core/device/algorithm_cache.h"

#include <gtest/gtest.h>

#include "core/base/error.h"
#include "core/base/file.h"
#include "tests/core/temporary_directory.h"

namespace lockstep {
namespace {

const std::string kHere = "GPU A, cuDNN 9.19.0", kThere = "GPU B, cuDNN 9.19.0";

TEST(AlgorithmCache, ChoosesOnceForEachProblem) {
  AlgorithmCache cache(kHere);
  int asked = 0;
  const auto choose = [&] { return "engine " + std::to_string(++asked); };
  EXPECT_EQ(cache.find("conv2d 3x3"), nullptr);
  EXPECT_EQ(cache.choose("conv2d 3x3", choose), "engine 1");
  EXPECT_EQ(cache.choose("conv2d 3x3", choose), "engine 1");
  EXPECT_EQ(cache.choose("conv2d 1x1", choose), "engine 2");
  EXPECT_EQ(asked, 2);
  EXPECT_EQ(cache.size(), 2u);
  cache.keep("conv2d 3x3", "engine 7");
  EXPECT_EQ(cache.choose("conv2d 3x3", choose), "engine 7");
}

TEST(AlgorithmCache, AChoiceThatFailsIsNotKept) {
  AlgorithmCache cache(kHere);
  EXPECT_THROW(cache.choose("p", []() -> std::string { bad_input("none"); }), Error);
  EXPECT_EQ(cache.find("p"), nullptr);
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
