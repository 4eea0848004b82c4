// Normalisation against values computed by hand.
#include "datasets/normalize.h"

#include <cmath>

#include "tests/datasets/shards.h"

namespace lockstep {
namespace {

// Four samples of (2, 2); the last is not a training sample.
Subset training_part() {
  auto dataset = Dataset::from_memory(
      "m", {array_of<float>("x", {4, 2, 2}, {1, 5, 2, 5, 3, 5, 4, 5, 5, 5, 9, 5, 1000, 0, 1000, 0}),
            array_of<double>("c", {4}, {0.1, 0.1, 0.1, 0.7})});
  return {std::move(dataset), {0, 1, 2}};
}

TEST(Normalize, StandardForEachFeature) {
  const Subset training = training_part();
  const Normalization found =
      compute_normalization({.kind = "standard"}, training, training.dataset->find("x"));
  // Feature 0: 1 2 3 4 5 9, mean 4, mean square of differences (9+4+1+0+1+25)/6. Feature 1 is
  // always 5.
  ASSERT_EQ(found.shift.size(), 2u);
  EXPECT_DOUBLE_EQ(found.shift[0], 4.0);
  EXPECT_DOUBLE_EQ(found.scale[0], 1.0 / std::sqrt(40.0 / 6.0));
  EXPECT_EQ(found.shift[1], 5.0);
  EXPECT_EQ(found.scale[1], 1.0);
  std::vector<float> out(4);
  convert_samples(DType::kF32, found, training.dataset->row(training.dataset->find("x"), 2), 4, out.data());
  const auto deviation = static_cast<float>(1.0 / std::sqrt(40.0 / 6.0));
  EXPECT_EQ(out,
            (std::vector<float>{deviation, 0, static_cast<float>(5.0 / std::sqrt(40.0 / 6.0)), 0}));
}

TEST(Normalize, StandardOfTheWholeArray) {
  const Subset training = training_part();
  const Normalization found = compute_normalization({.kind = "standard", .axis = "array"}, training,
                                                    training.dataset->find("x"));
  // 1 2 3 4 5 9 and six times 5: mean 4.5, squares 12.25+6.25+2.25+0.25+0.25+20.25 + 6 * 0.25.
  EXPECT_EQ(found.shift, std::vector<double>{4.5});
  EXPECT_DOUBLE_EQ(found.scale.at(0), 1.0 / std::sqrt(43.0 / 12.0));
}

TEST(Normalize, MinmaxScaleAndNone) {
  const Subset training = training_part();
  const int x = training.dataset->find("x");
  const Normalization minmax = compute_normalization({.kind = "minmax"}, training, x);
  EXPECT_EQ(minmax, (Normalization{{1.0, 5.0}, {1.0 / 8.0, 1.0}}));
  EXPECT_EQ(compute_normalization({.kind = "minmax", .axis = "array"}, training, x),
            (Normalization{{1.0}, {1.0 / 8.0}}));
  EXPECT_EQ(compute_normalization({.kind = "scale", .factor = 0.5}, training, x),
            (Normalization{{0.0}, {0.5}}));
  EXPECT_EQ(compute_normalization({.kind = "none"}, training, x), Normalization{});
  std::vector<float> out(4);
  convert_samples(DType::kF32, {}, training.dataset->row(x, 3), 4, out.data());
  EXPECT_EQ(out, (std::vector<float>{1000, 0, 1000, 0}));
}

TEST(Normalize, AConstantThatRoundsBecomesZero) {
  const Subset training = training_part();
  const int c = training.dataset->find("c");
  const Normalization found = compute_normalization({.kind = "standard"}, training, c);
  EXPECT_EQ(found, (Normalization{{0.1}, {1.0}}));
}

TEST(Normalize, RefusesUnknownKindsAndNaN) {
  const Subset training = training_part();
  EXPECT_EQ(message_of([&] { compute_normalization({.kind = "standart"}, training, 0); }),
            "normalize: \"standart\" is not known; did you mean \"standard\"?; valid: \"none\", "
            "\"standard\", \"minmax\", \"scale\", \"given\"");
  EXPECT_EQ(
      message_of([&] { compute_normalization({.kind = "minmax", .axis = "row"}, training, 0); }),
      "normalize axis: \"row\" is not known; valid: \"feature\", \"array\"");
  const Subset broken =
      whole(Dataset::from_memory("m", {array_of<float>("x", {2}, {1, std::nanf("")})}));
  EXPECT_EQ(message_of([&] { compute_normalization({.kind = "standard"}, broken, 0); }),
            "m: array \"x\", row 1: element 0 is nan, expected a finite number");
  EXPECT_EQ(message_of([&] {
              check_fits({{1, 2, 3}, {1, 1, 1}}, training.dataset->array("x"));
            }),
            "array \"x\": the normalisation has 3 features, a sample is (2, 2)");
}

}  // namespace
}  // namespace lockstep
