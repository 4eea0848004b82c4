// Differences and means of tensors.
#include "launcher/weights/tensor_source.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "launcher/weights/average.h"
#include "launcher/weights/difference.h"
#include "launcher/weights/safetensors.h"
#include "tests/core/temporary_directory.h"
#include "tests/launcher/message.h"

namespace lockstep {
namespace {

TensorSource source_of(const std::string& path, const Weights& weights) {
  TensorSource out{.path = path, .shapes = {}, .read = [weights](const std::string& name) { return weights.at(name).values; }};
  for (const auto& [name, weight] : weights) out.shapes[name] = weight.shape;
  return out;
}

std::vector<std::string> differences(const Weights& a, const Weights& b) {
  std::vector<std::string> out;
  compare_tensors(source_of("a", a), source_of("b", b), [&](const TensorDifference& one) { out.push_back(to_string(one)); });
  return out;
}

TEST(TensorDifference, SaysOfEachTensorHowItDiffers) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const Weights a{{"equal", {{2}, {1, nan}}}, {"moved", {{3}, {1, 2, 3}}}, {"shaped", {{2, 1}, {1, 2}}}, {"mine", {{}, {1}}},
                  {"signed", {{1}, {0.0f}}}, {"spoilt", {{2}, {1, 5}}}};
  const Weights b{{"equal", {{2}, {1, nan}}}, {"moved", {{3}, {1, 1.5f, 5}}}, {"shaped", {{2}, {1, 2}}}, {"yours", {{4}, {1, 2, 3, 4}}},
                  {"signed", {{1}, {-0.0f}}}, {"spoilt", {{2}, {nan, 2}}}};
  EXPECT_EQ(differences(a, b), (std::vector<std::string>{
                                   "equal (2): equal",
                                   "mine (): only in the first",
                                   "moved (3): max abs difference 2, 2 of 3 elements",
                                   "shaped: shape (2, 1) and (2)",
                                   "signed (1): max abs difference 0, 1 of 1 elements",
                                   "spoilt (2): max abs difference nan, 2 of 2 elements",
                                   "yours (4): only in the second",
                               }));
}

TEST(Average, IsTheMeanInDoubleRoundedOnce) {
  const float large = 16777216;  // in f32, one more is the same
  const Weights mean = average({source_of("a", {{"w", {{2}, {large, 1}}}}), source_of("b", {{"w", {{2}, {1, 2}}}}),
                                source_of("c", {{"w", {{2}, {1, 6}}}})});
  ASSERT_EQ(mean.size(), 1u);
  EXPECT_EQ(mean.at("w").shape, Shape({2}));
  EXPECT_EQ(mean.at("w").values, (std::vector<float>{5592406, 3}));  // 16777218 / 3
  EXPECT_NE(mean.at("w").values[0], (large + 1 + 1) / 3);
}

TEST(Average, OfDifferentModelsIsRefused) {
  const TensorSource a = source_of("a", {{"w", {{2}, {1, 2}}}});
  EXPECT_EQ(refused([&] { average({a, source_of("b", {{"w", {{1}, {1}}}})}); }),
            "b: tensor \"w\" is (1), that of a is (2): no mean of the two");
  EXPECT_EQ(refused([&] { average({a, source_of("b", {})}); }), "b: has no tensor \"w\", a has one: no mean of the two");
  EXPECT_EQ(refused([&] { average({source_of("b", {}), a}); }), "b: has no tensor \"w\", a has one: no mean of the two");
}

TEST(TensorSource, IsAFileOrSaysWhatItIsNot) {
  const TemporaryDirectory folder;
  const std::string file = folder.path("w.safetensors");
  write_safetensors(file, {{"a", {{1}, {3}}}});
  const TensorSource source = open_weights(file);
  EXPECT_EQ(source.shapes.at("a"), Shape({1}));
  EXPECT_EQ(source.read("a"), std::vector<float>{3});
  EXPECT_EQ(refused([&] { open_state(folder.path("none")); }), folder.path("none") + ": there is no such file or directory");
  EXPECT_EQ(refused([&] { open_state(folder.path("")); }), folder.path("") + ": is neither a checkpoint nor a run");
}

}  // namespace
}  // namespace lockstep
