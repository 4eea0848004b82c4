// Which key two configurations differ in.
#include "launcher/config_difference.h"

#include <gtest/gtest.h>

namespace lockstep {
namespace {

constexpr const char* kFirst =
    "[run]\nseed = 42\n\n[train]\nepochs = 2\n\n[train.optimizer]\ntype = \"sgd\"\n\n"
    "[[layer]]\ntype = \"dense\"\nunits = 8\n\n[[layer]]\ntype = \"dense\"\nunits = 10\n";

// "key: first, second" with one part of kFirst replaced.
std::string difference(const std::string& part, const std::string& by) {
  std::string second = kFirst;
  const std::size_t at = second.find(part);
  EXPECT_NE(at, std::string::npos);
  second.replace(at, part.size(), by);
  const ConfigDifference found = difference_of(kFirst, second);
  return found.key + ": " + found.first + ", " + found.second;
}

TEST(ConfigDifference, NamesTheKeyAsSetDoes) {
  EXPECT_EQ(difference("seed = 42", "seed = 7"), "run.seed: 42, 7");
  EXPECT_EQ(difference("\"sgd\"", "\"adam\""), "train.optimizer.type: \"sgd\", \"adam\"");
  EXPECT_EQ(difference("units = 10", "units = 11"), "layer.1.units: 10, 11");
  EXPECT_EQ(difference("units = 8", "units = 9"), "layer.0.units: 8, 9");
}

TEST(ConfigDifference, WhatOneLacks) {
  EXPECT_EQ(difference("epochs = 2\n", ""), "train.epochs: 2, nothing");
  EXPECT_EQ(difference("epochs = 2\n", "epochs = 2\nsteps = 5\n"), "train.steps: nothing, 5");
  EXPECT_EQ(difference("[[layer]]\ntype = \"dense\"\nunits = 10\n", ""),
            "layer.1.type: \"dense\", nothing");
}

TEST(ConfigDifference, NoneWhereTheyAreEqual) {
  EXPECT_EQ(difference_of(kFirst, kFirst).key, "");
}

}  // namespace
}  // namespace lockstep
