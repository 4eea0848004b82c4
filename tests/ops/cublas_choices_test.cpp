#include "ops/dense/cublas_choices.h"

#include <gtest/gtest.h>

#include <limits>

namespace lockstep::cublas {
namespace {

TEST(CublasChoices, AnAlgorithmSurvivesItsText) {
  constexpr std::uint64_t kMost = std::numeric_limits<std::uint64_t>::max();
  const Algorithm algorithm{4096, {66, 0, 1, 2, 3, 4, 5, kMost}};
  EXPECT_EQ(algorithm.to_string(), "4096 66 0 1 2 3 4 5 18446744073709551615");
  EXPECT_EQ(Algorithm::from(algorithm.to_string()), algorithm);
}

TEST(CublasChoices, WhatIsNoAlgorithmIsToldApart) {
  for (const char* text : {"", "4096", "1 2 3 4 5 6 7 8", "1 2 3 4 5 6 7 8 9 10", "1 2 3 4 5 6 7 8 nine", " 1 2 3 4 5 6 7 8 9",
                           "1 2 3 4 5 6 7 8 9 ", "1  2 3 4 5 6 7 8 9", "1 2 3 4 5 6 7 8 -9",
                           "1 2 3 4 5 6 7 8 18446744073709551616"}) {
    EXPECT_EQ(Algorithm::from(text), std::nullopt) << '"' << text << '"';
  }
}

}  // namespace
}  // namespace lockstep::cublas
