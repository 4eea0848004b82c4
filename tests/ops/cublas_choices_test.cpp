#include "ops/dense/cublas_choices.h"

#include <gtest/gtest.h>

#include <limits>

#include "core/base/error.h"

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

constexpr ActivationKind kRelu = ActivationKind::kRelu, kGelu = ActivationKind::kGeluApproximate;

// Of a product with `out` columns.
std::vector<Epilogue> epilogues(DType dtype, std::int64_t out, bool bias, std::optional<ActivationKind> activation = {}) {
  DenseEnd end{bias, false, {}};
  if (activation) end.activation = Activation{*activation};
  return epilogues_of({dtype, 256, 784, out}, end);
}

TEST(CublasChoices, EpiloguesAreAskedForFromAllToNothing) {
  using List = std::vector<Epilogue>;
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    EXPECT_EQ(epilogues(dtype, 1024, false), List{{}});
    EXPECT_EQ(epilogues(dtype, 1024, true), (List{{true}, {}}));
    EXPECT_EQ(epilogues(dtype, 1024, false, kRelu), (List{{false, kRelu}, {}}));
    EXPECT_EQ(epilogues(dtype, 1024, true, kRelu), (List{{true, kRelu}, {true}, {}}));
    EXPECT_EQ(epilogues(dtype, 1024, true, ActivationKind::kTanh), (List{{true}, {}}));
    EXPECT_EQ(epilogues(dtype, 1024, true, ActivationKind::kGelu), (List{{true}, {}}));
  }
}

TEST(CublasChoices, AnF32BiasThatBeginsAnywhereIsLeftToTheKernel) {
  using List = std::vector<Epilogue>;
  EXPECT_EQ(epilogues(DType::kF32, 10, true), List{{}});
  EXPECT_EQ(epilogues(DType::kF32, 10, true, kRelu), List{{}});
  EXPECT_EQ(epilogues(DType::kF32, 10, false, kRelu), (List{{false, kRelu}, {}}));
  EXPECT_EQ(epilogues(DType::kBF16, 10, true, kRelu), (List{{true, kRelu}, {true}, {}}));
}

TEST(CublasChoices, GeluIsForBf16) {
  using List = std::vector<Epilogue>;
  EXPECT_EQ(epilogues(DType::kBF16, 1024, true, kGelu), (List{{true, kGelu}, {true}, {}}));
  EXPECT_EQ(epilogues(DType::kBF16, 1024, false, kGelu), (List{{false, kGelu}, {}}));
  EXPECT_EQ(epilogues(DType::kF32, 1024, true, kGelu), (List{{true}, {}}));
  EXPECT_EQ(epilogues(DType::kF32, 1024, false, kGelu), List{{}});
}

TEST(CublasChoices, AChoiceForWeightsAndBiasSurvivesItsText) {
  for (const bool together : {false, true}) {
    const WeightsChoice choice{together, "0 66 1 2 3 4 5 6 7"};
    EXPECT_EQ(choice.to_string(), std::string(together ? "together" : "apart") + " 0 66 1 2 3 4 5 6 7");
    EXPECT_EQ(WeightsChoice::from(choice.to_string()), choice);
  }
  EXPECT_THROW(WeightsChoice::from("0 66 1 2 3 4 5 6 7"), Error);
}

TEST(CublasChoices, ChoicesForWeightsAndBiasTakeTurns) {
  using List = std::vector<std::string>;
  const List both{"1", "2", "3"}, alone{"4", "5"};
  EXPECT_EQ(weights_choices(both, alone, true, 16), (List{"together 1", "apart 4", "together 2", "apart 5", "together 3"}));
  EXPECT_EQ(weights_choices(both, alone, false, 16), (List{"apart 4", "together 1", "apart 5", "together 2", "together 3"}));
  EXPECT_EQ(weights_choices(both, alone, true, 3), (List{"together 1", "apart 4", "together 2"}));
  EXPECT_EQ(weights_choices(both, alone, false, 1), List{"apart 4"});
  EXPECT_EQ(weights_choices({}, alone, false, 1), List{"apart 4"});
  EXPECT_EQ(weights_choices(both, {}, false, 1), List{"together 1"});
  EXPECT_EQ(weights_choices({}, {}, false, 16), List{});
}

}  // namespace
}  // namespace lockstep::cublas
