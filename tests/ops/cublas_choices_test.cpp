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

}  // namespace
}  // namespace lockstep::cublas
