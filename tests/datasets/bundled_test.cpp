// The sets that come with Lockstep: what is in them, and that nobody changed a value.
#include "core/base/hash.h"
#include "datasets/dataset.h"
#include "datasets/describe.h"
#include "tests/datasets/shards.h"

namespace lockstep {
namespace {

using Words = std::vector<std::string>;

TEST(Bundled, AllAreListed) {
  EXPECT_EQ(bundled_names(), (Words{"breast-cancer", "diabetes", "digits"}));
  for (const std::string& name : bundled_names()) {
    const auto dataset = Dataset::open(name);
    EXPECT_EQ(dataset->files().size(), 2u);
    EXPECT_NO_THROW(dataset->check_finite(dataset->find("x")));
    EXPECT_FALSE(describe_dataset({name}).empty());
  }
}

TEST(Bundled, Digits) {
  const auto digits = Dataset::open("digits");
  EXPECT_EQ(digits->size(), 1797);
  EXPECT_EQ(digits->array("x").dtype, DType::kU8);
  EXPECT_EQ(digits->array("x").sample, (Shape{8, 8, 1}));
  EXPECT_EQ(digits->array("y").dtype, DType::kI32);
  EXPECT_EQ(digits->count_classes(digits->find("y")), 10);
  EXPECT_EQ(hex_of(digits->fingerprint()), "ba44f8fcae56364a");
}

TEST(Bundled, BreastCancer) {
  const auto cancer = Dataset::open("breast-cancer");
  EXPECT_EQ(cancer->size(), 569);
  EXPECT_EQ(cancer->array("x").sample, Shape{30});
  EXPECT_EQ(cancer->array("x").feature_names.at(7), "mean concave points");
  EXPECT_EQ(cancer->array("y").class_names, (Words{"malignant", "benign"}));
  std::int64_t benign = 0;
  for (const std::int64_t id : whole(cancer).ids) {
    std::int32_t label = 0;
    cancer->gather(cancer->find("y"), std::span(&id, 1), &label);
    benign += label;
  }
  EXPECT_EQ(benign, 357);
  EXPECT_EQ(hex_of(cancer->fingerprint()), "13b76e9e50f308f9");
}

TEST(Bundled, Diabetes) {
  const auto diabetes = Dataset::open("diabetes");
  EXPECT_EQ(diabetes->size(), 442);
  EXPECT_EQ(diabetes->array("x").sample, Shape{10});
  EXPECT_EQ(diabetes->array("y").dtype, DType::kF32);
  const Subset all = whole(diabetes);
  std::vector<float> targets(442);
  diabetes->gather(diabetes->find("y"), all.ids, targets.data());
  double sum = 0;
  for (const float target : targets) sum += target;
  EXPECT_NEAR(sum / 442, 152.13348, 1e-5);
  EXPECT_EQ(hex_of(diabetes->fingerprint()), "1295fa6b08fcd660");
}

}  // namespace
}  // namespace lockstep
