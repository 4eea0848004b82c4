// Transforms against what they are by definition, as bytes and as numbers; and mixup.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "core/base/error.h"
#include "datasets/mixup.h"
#include "datasets/transforms/cutout.h"
#include "datasets/transforms/horizontal_flip.h"
#include "datasets/transforms/noise.h"
#include "datasets/transforms/one_hot.h"
#include "datasets/transforms/random_crop.h"
#include "datasets/transforms/rotation.h"
#include "tests/datasets/shards.h"

namespace lockstep {
namespace {

SampleRandom random_of(std::int64_t sample, std::int64_t epoch = 0) { return {7, 0, epoch, sample}; }

std::vector<float> counted(const Shape& shape) {
  std::vector<float> out(static_cast<std::size_t>(shape.elements()));
  std::iota(out.begin(), out.end(), 1.0f);
  return out;
}

std::vector<float> applied(const TransformPtr& transform, const Shape& shape, const std::vector<float>& from,
                           const SampleRandom* random) {
  std::vector<float> out(static_cast<std::size_t>(transform->output(shape).elements()), -1.0f);
  transform->apply(shape, from.data(), out.data(), random);
  return out;
}

// The same on bytes, as numbers.
std::vector<float> applied_to_bytes(const TransformPtr& transform, const Shape& shape, const std::vector<float>& from,
                                    const SampleRandom* random) {
  const std::vector<std::uint8_t> bytes(from.begin(), from.end());
  std::vector<std::uint8_t> out(static_cast<std::size_t>(transform->output(shape).elements()), 99);
  transform->apply(shape, bytes.data(), out.data(), random);
  return {out.begin(), out.end()};
}

TEST(Transforms, RandomCropMovesTheImageWithinItsPadding) {
  const Shape shape{4, 5, 2};
  const std::vector<float> image = counted(shape);
  const TransformPtr crop = random_crop({.padding = 2, .height = 0, .width = 0});
  EXPECT_EQ(crop->output(shape), shape);
  std::map<std::pair<int, int>, int> seen;
  for (std::int64_t sample = 0; sample < 500; ++sample) {
    const SampleRandom random = random_of(sample);
    const std::vector<float> out = applied(crop, shape, image, &random);
    EXPECT_EQ(applied_to_bytes(crop, shape, image, &random), out);
    // It is the image moved by some (dy, dx), with zeros around.
    int matches = 0;
    for (int dy = -2; dy <= 2; ++dy) {
      for (int dx = -2; dx <= 2; ++dx) {
        bool same = true;
        for (int y = 0; y < 4; ++y) {
          for (int x = 0; x < 5; ++x) {
            const bool inside = y + dy >= 0 && y + dy < 4 && x + dx >= 0 && x + dx < 5;
            const float expected = inside ? image[static_cast<std::size_t>(((y + dy) * 5 + x + dx) * 2)] : 0.0f;
            same = same && out[static_cast<std::size_t>((y * 5 + x) * 2)] == expected;
          }
        }
        if (!same) continue;
        ++matches;
        ++seen[{dy, dx}];
      }
    }
    EXPECT_EQ(matches, 1);
  }
  EXPECT_EQ(seen.size(), 25u);  // all of them, 20 times each
  for (const auto& [where, count] : seen) EXPECT_GT(count, 4);
  EXPECT_EQ(applied(crop, shape, image, nullptr), image) << "what is evaluated stays in the middle";
}

TEST(Transforms, RandomCropToASmallerImage) {
  const Shape shape{4, 4, 1};
  const TransformPtr crop = random_crop({.padding = 0, .height = 2, .width = 3});
  EXPECT_EQ(crop->output(shape), (Shape{2, 3, 1}));
  EXPECT_EQ(applied(crop, shape, counted(shape), nullptr), (std::vector<float>{5, 6, 7, 9, 10, 11}));
  EXPECT_EQ(message_of([&] { random_crop({.padding = 1, .height = 9, .width = 3})->output(shape); }),
            "random_crop: a part of 9 x 3 does not fit into an image of 4 x 4 with 1 pixels around it");
  EXPECT_EQ(message_of([&] { crop->output({16}); }),
            "random_crop: a sample is (16), expected an image (height, width, channels); data.sample_shape can make it one");
}

TEST(Transforms, HorizontalFlipWithAProbability) {
  const Shape shape{2, 3, 2};
  const std::vector<float> flipped = {5, 6, 3, 4, 1, 2, 11, 12, 9, 10, 7, 8};
  const TransformPtr flip = horizontal_flip(0.25);
  int count = 0;
  for (std::int64_t sample = 0; sample < 1000; ++sample) {
    const SampleRandom random = random_of(sample);
    const std::vector<float> out = applied(flip, shape, counted(shape), &random);
    EXPECT_EQ(applied_to_bytes(flip, shape, counted(shape), &random), out);
    EXPECT_TRUE(out == flipped || out == counted(shape));
    count += out == flipped;
  }
  EXPECT_NEAR(count, 250, 60);
  EXPECT_TRUE(flip->training_only());
}

TEST(Transforms, CutoutClearsSquares) {
  const Shape shape{6, 6};
  const TransformPtr cut = cutout({.size = 3, .holes = 1});
  std::vector<int> cleared(36, 0);
  for (std::int64_t sample = 0; sample < 500; ++sample) {
    const SampleRandom random = random_of(sample);
    const std::vector<float> out = applied(cut, shape, counted(shape), &random);
    EXPECT_EQ(applied_to_bytes(cut, shape, counted(shape), &random), out);
    int zeros = 0;
    for (std::size_t i = 0; i < 36; ++i) {
      zeros += out[i] == 0;
      cleared[i] += out[i] == 0;
      EXPECT_TRUE(out[i] == 0 || out[i] == static_cast<float>(i) + 1);
    }
    EXPECT_GE(zeros, 4);  // in a corner
    EXPECT_LE(zeros, 9);
  }
  EXPECT_GT(*std::ranges::min_element(cleared), 20);
}

TEST(Transforms, RotationTurnsAboutTheMiddle) {
  const Shape shape{5, 5, 1};
  const std::vector<float> image = counted(shape);
  const SampleRandom random = random_of(3);
  EXPECT_EQ(applied(rotation(0), shape, image, &random), image);
  for (std::int64_t sample = 0; sample < 50; ++sample) {
    const SampleRandom one = random_of(sample);
    const std::vector<float> out = applied(rotation(180), shape, image, &one);
    EXPECT_NEAR(out[12], 13.0f, 1e-4);  // the middle stays
    const double angle = (2 * one.uniform(0) - 1) * 3.14159265358979;
    // Right of the middle lies what was at that angle.
    const double y = 2 + std::sin(-angle), x = 2 + std::cos(-angle);
    const auto plane = [](double row, double column) { return 1 + 5 * row + column; };  // linear in both
    EXPECT_NEAR(out[13], plane(y, x), 1e-3);
    const std::vector<float> bytes = applied_to_bytes(rotation(180), shape, image, &one);
    for (std::size_t i = 0; i < 25; ++i) EXPECT_NEAR(bytes[i], out[i], 0.5001);
  }
  // A quarter turn.
  int quarters = 0;
  for (std::int64_t sample = 0; sample < 200000 && quarters < 3; ++sample) {
    const SampleRandom one = random_of(sample);
    const double degrees = (2 * one.uniform(0) - 1) * 90;
    if (std::abs(std::abs(degrees) - 90) > 0.01) continue;
    ++quarters;
    const std::vector<float> out = applied(rotation(90), shape, image, &one);
    for (int row = 0; row < 5; ++row) {
      for (int column = 0; column < 5; ++column) {
        const int from_row = degrees > 0 ? 4 - column : column, from_column = degrees > 0 ? row : 4 - row;
        EXPECT_NEAR(out[static_cast<std::size_t>(row * 5 + column)], image[static_cast<std::size_t>(from_row * 5 + from_column)], 0.1)
            << degrees;
      }
    }
  }
  EXPECT_EQ(quarters, 3);
}

TEST(Transforms, NoiseHasItsDeviation) {
  const Shape shape{1000};
  const std::vector<float> zeros(1000, 0.0f);
  double sum = 0, squares = 0;
  for (std::int64_t sample = 0; sample < 20; ++sample) {
    const SampleRandom random = random_of(sample);
    for (const float value : applied(noise(0.5), shape, zeros, &random)) {
      sum += value;
      squares += value * value;
    }
  }
  EXPECT_NEAR(sum / 20000, 0, 0.02);
  EXPECT_NEAR(std::sqrt(squares / 20000), 0.5, 0.01);
  EXPECT_EQ(noise(1)->stage(), Transform::Stage::kNumbers);
}

TEST(Transforms, OneHot) {
  const TransformPtr transform = one_hot(3);
  EXPECT_EQ(transform->output({2}), (Shape{2, 3}));
  EXPECT_EQ(applied(transform, {2}, {2, 0}, nullptr), (std::vector<float>{0, 0, 1, 1, 0, 0}));
  EXPECT_EQ(applied(transform, {2}, {3, -1}, nullptr), std::vector<float>(6, 0.0f));
}

TEST(Transforms, RandomNumbersDependOnSampleEpochTransformAndSeedOnly) {
  const Shape shape{8, 8, 1};
  const TransformPtr crop = random_crop({.padding = 8, .height = 0, .width = 0});
  const auto with = [&](std::uint64_t seed, std::uint32_t index, std::int64_t epoch, std::int64_t sample) {
    const SampleRandom random(seed, index, epoch, sample);
    return applied(crop, shape, counted(shape), &random);
  };
  EXPECT_EQ(with(1, 2, 3, 4), with(1, 2, 3, 4));
  EXPECT_NE(with(2, 2, 3, 4), with(1, 2, 3, 4));
  EXPECT_NE(with(1, 3, 3, 4), with(1, 2, 3, 4));
  EXPECT_NE(with(1, 2, 4, 4), with(1, 2, 3, 4));
  EXPECT_NE(with(1, 2, 3, 5), with(1, 2, 3, 4));
}

TEST(Transforms, AreMadeFromSettings) {
  TransformRegistry registry;
  register_transforms(registry);
  const auto make = [&](const std::string& kind, const std::string& key, double value) {
    Settings settings("data.transform[0]", "a.toml:3");
    settings.set("type", {kind, "a.toml:4"});
    if (!key.empty()) settings.set(key, {value, "a.toml:5"});
    return registry.make(settings)->kind();
  };
  EXPECT_EQ(make("rotation", "degrees", 10), "rotation");
  EXPECT_EQ(make("horizontal_flip", "", 0), "horizontal_flip");
  EXPECT_EQ(message_of([&] { make("rotation", "degrees", 1000); }),
            "a.toml:5: data.transform[0].degrees: found 1000, expected 0 to 180");
  EXPECT_NE(message_of([&] { make("rotatoin", "degrees", 10); }).find("did you mean \"rotation\"?"), std::string::npos);
  EXPECT_NE(message_of([&] { make("noise", "", 10); }).find("deviation"), std::string::npos);
}

TEST(Mixup, WeightsHaveTheBetaDistribution) {
  for (const double alpha : {0.2, 1.0, 3.0}) {
    const Mixup mixup(alpha, 1, 0);
    double sum = 0, squares = 0;
    constexpr int kDraws = 20000;
    for (int i = 0; i < kDraws; ++i) {
      const double weight = mixup.weight(0, i);
      EXPECT_GE(weight, 0);
      EXPECT_LE(weight, 1);
      sum += weight;
      squares += weight * weight;
    }
    const double mean = sum / kDraws;
    EXPECT_NEAR(mean, 0.5, 0.015) << alpha;
    EXPECT_NEAR(squares / kDraws - mean * mean, 1 / (4 * (2 * alpha + 1)), 0.01) << alpha;
  }
}

TEST(Mixup, MixesPartnersOfAMicrobatch) {
  const std::vector<std::int64_t> ids = {10, 20, 30, 40};
  std::vector<float> x = {1, 2, 4, 8}, y = {1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1}, room;
  const std::vector<float> before = x;
  const Mixup mixup(1.0, 5, 2);
  const Mixup::Rows rows[] = {{x.data(), 1}, {y.data(), 4}};
  mixup.mix(3, 7, 1, ids, rows, room);
  std::size_t shift = 0;
  for (std::size_t i = 0; i < 4; ++i) {
    const auto weight = static_cast<float>(mixup.weight(3, ids[i]));
    const std::vector<float> row(y.begin() + static_cast<std::ptrdiff_t>(4 * i), y.begin() + static_cast<std::ptrdiff_t>(4 * i + 4));
    EXPECT_FLOAT_EQ(row[i], weight);
    EXPECT_NEAR(std::accumulate(row.begin(), row.end(), 0.0f), 1.0f, 1e-6);
    for (std::size_t j = 1; j < 4; ++j) {
      if (row[(i + j) % 4] == 0) continue;
      EXPECT_TRUE(shift == 0 || shift == j);
      shift = j;
      EXPECT_FLOAT_EQ(x[i], weight * before[i] + (1 - weight) * before[(i + j) % 4]);
    }
  }
  EXPECT_NE(shift, 0u);
  // One sample alone stays as it is.
  std::vector<float> one = {3};
  const Mixup::Rows alone[] = {{one.data(), 1}};
  mixup.mix(0, 0, 0, std::span(ids).first(1), alone, room);
  EXPECT_EQ(one[0], 3);
}

}  // namespace
}  // namespace lockstep
