// Synthetic data: that it is what its formula says, whatever the seed, the shards and the order of
// reading.
#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>
#include <set>

#include "datasets/import/shard_writer.h"
#include "datasets/synthesize/kind.h"
#include "tests/datasets/import/imported.h"

namespace lockstep {
namespace {

class SynthesizeTest : public ImportTest {
 protected:
  static std::unique_ptr<SampleSource> make(const std::string& kind, std::int64_t samples,
                                            Given given = {}, std::uint64_t seed = 1) {
    return synthesize(kind, {samples, seed, FormatOptions(std::move(given))});
  }
  static std::vector<double> coefficients(const SampleSource& source, std::size_t array) {
    std::vector<double> out;
    for (const std::string& word : attribute<Words>(source, array, "coefficients"))
      out.push_back(std::stod(word));
    return out;
  }
  static double mean(const Doubles& values) {
    return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
  }
};

TEST_F(SynthesizeTest, EveryKindDependsOnSeedAndSampleAlone) {
  for (const SyntheticKind& kind : synthetic_kinds()) {
    const auto source = make(kind.name, 50), longer = make(kind.name, 90);
    const auto other = make(kind.name, 50, {}, 2);
    for (std::size_t array = 0; array < source->arrays().size(); ++array) {
      const Doubles all = values(*source, array);
      const std::size_t row = static_cast<std::size_t>(source->arrays()[array].sample.elements());
      ASSERT_EQ(all.size(), 50 * row);
      EXPECT_EQ(values(*longer, array, {0, 50}), all) << kind.name;
      // Backwards, a few rows at a time.
      for (std::int64_t begin = 45; begin >= 0; begin -= 5) {
        const auto at = all.begin() + begin * static_cast<std::ptrdiff_t>(row);
        EXPECT_EQ(values(*source, array, {begin, begin + 5}),
                  Doubles(at, at + 5 * static_cast<std::ptrdiff_t>(row)))
            << kind.name << ' ' << begin;
      }
      if (array == 0) {
        EXPECT_NE(values(*other, array), all) << kind.name;
      }
      for (const double value : all) ASSERT_TRUE(std::isfinite(value)) << kind.name;
    }
  }
}

TEST_F(SynthesizeTest, ShardsDoNotChangeTheValues) {
  std::set<std::uint64_t> fingerprints;
  for (const std::int64_t shards : {1, 3}) {
    const auto source = make("autoregressive", 100);
    fingerprints.insert(
        write_shards(*source,
                     {.output = path(std::to_string(shards)), .name = "a", .shards = shards})
            .at(0)
            .fingerprint);
  }
  EXPECT_EQ(fingerprints.size(), 1u);
}

TEST_F(SynthesizeTest, LinearFollowsItsCoefficients) {
  const auto exact = make("linear", 100, {{"features", "3"}, {"noise", "0"}});
  const Doubles w = coefficients(*exact, 1), x = values(*exact, 0), y = values(*exact, 1);
  ASSERT_EQ(w.size(), 4u);
  for (std::size_t i = 0; i < 100; ++i) {
    EXPECT_NEAR(y[i], w[0] * x[3 * i] + w[1] * x[3 * i + 1] + w[2] * x[3 * i + 2] + w[3], 1e-4);
  }
  const auto noisy = make("linear", 4000, {{"features", "3"}, {"noise", "0.5"}});
  const auto clean = make("linear", 4000, {{"features", "3"}, {"noise", "0"}});
  EXPECT_EQ(values(*noisy, 0), values(*clean, 0));
  const Doubles with = values(*noisy, 1), without = values(*clean, 1);
  double square = 0;
  for (std::size_t i = 0; i < with.size(); ++i) square += std::pow(with[i] - without[i], 2);
  EXPECT_NEAR(std::sqrt(square / 4000), 0.5, 0.02);
  EXPECT_NEAR(mean(values(*noisy, 0)), 0, 0.03);
}

TEST_F(SynthesizeTest, LogisticDrawsWithItsProbability) {
  const auto source = make("logistic", 20000, {{"features", "2"}});
  const Doubles w = coefficients(*source, 1), x = values(*source, 0), y = values(*source, 1);
  // In bins of the probability the share of ones is the probability.
  std::vector<double> ones(5), counts(5), expected(5);
  for (std::size_t i = 0; i < y.size(); ++i) {
    const double p = 1 / (1 + std::exp(-(w[0] * x[2 * i] + w[1] * x[2 * i + 1] + w[2])));
    const auto bin = std::min<std::size_t>(4, static_cast<std::size_t>(p * 5));
    ones[bin] += y[i];
    expected[bin] += p;
    ++counts[bin];
  }
  for (std::size_t bin = 0; bin < 5; ++bin) {
    ASSERT_GT(counts[bin], 0);
    const double error = std::sqrt(0.25 / counts[bin]);
    EXPECT_NEAR(ones[bin] / counts[bin], expected[bin] / counts[bin], 4 * error) << bin;
  }
}

TEST_F(SynthesizeTest, XorIsOneWhereSignsDiffer) {
  const auto source = make("xor", 1000, {{"features", "3"}, {"noise", "0"}});
  const Doubles x = values(*source, 0), y = values(*source, 1);
  for (std::size_t i = 0; i < y.size(); ++i) {
    EXPECT_EQ(y[i], (x[3 * i] > 0) != (x[3 * i + 1] > 0));
    EXPECT_LE(std::abs(x[3 * i + 2]), 1);
  }
  EXPECT_NEAR(mean(y), 0.5, 0.06);
}

TEST_F(SynthesizeTest, SpiralsLieOnTheirArms) {
  const auto source = make("spirals", 300, {{"classes", "3"}, {"noise", "0"}});
  const Doubles x = values(*source, 0), y = values(*source, 1);
  for (std::size_t i = 0; i < y.size(); ++i) {
    EXPECT_EQ(y[i], static_cast<double>(i % 3));
    const double t = std::hypot(x[2 * i], x[2 * i + 1]),
                 angle = 2 * std::numbers::pi * (t + y[i] / 3);
    EXPECT_NEAR(x[2 * i], t * std::cos(angle), 1e-5);
    EXPECT_NEAR(x[2 * i + 1], t * std::sin(angle), 1e-5);
  }
}

TEST_F(SynthesizeTest, SineRepeatsItself) {
  const auto source = make("sine", 200, {{"period", "20"}, {"channels", "2"}, {"noise", "0"}});
  EXPECT_TRUE(source->is_series());
  const Doubles x = values(*source, 0);
  ASSERT_EQ(x.size(), 400u);
  for (std::size_t i = 0; i + 40 < x.size(); ++i) {
    EXPECT_NEAR(x[i], x[i + 40], 1e-5);
    EXPECT_NEAR(x[i], -x[i + 20], 1e-5);
  }
  EXPECT_GT(*std::ranges::max_element(x), 0.98);
  EXPECT_NE(x[0], x[1]);  // phases of their own
}

// What is a sum of three waves obeys a recurrence of six terms, and no shorter one: here, that it
// is not one wave, and bounded.
TEST_F(SynthesizeTest, SinesAreNotOneWave) {
  const auto one = make("sines", 400, {{"waves", "1"}, {"noise", "0"}});
  const auto three = make("sines", 400, {{"waves", "3"}, {"noise", "0"}});
  // One wave: x(t + 1) + x(t - 1) = 2 cos(speed) x(t).
  const auto residual = [](const Doubles& x) {
    double numerator = 0, denominator = 0, worst = 0;
    for (std::size_t t = 1; t + 1 < x.size(); ++t) {
      numerator += (x[t - 1] + x[t + 1]) * x[t];
      denominator += x[t] * x[t];
    }
    for (std::size_t t = 1; t + 1 < x.size(); ++t)
      worst = std::max(worst, std::abs(x[t - 1] + x[t + 1] - numerator / denominator * x[t]));
    return worst;
  };
  EXPECT_LT(residual(values(*one, 0)), 1e-5);
  EXPECT_GT(residual(values(*three, 0)), 1e-4);
  for (const double x : values(*three, 0)) EXPECT_LE(std::abs(x), 1);
}

TEST_F(SynthesizeTest, AutoregressiveHasItsCorrelations) {
  // Yule and Walker: the first autocorrelation is a1 / (1 - a2).
  const auto source = make("autoregressive", 50000, {{"coefficients", "0.5,-0.3"}});
  EXPECT_EQ(coefficients(*source, 0), (Doubles{0.5, -0.3}));
  const Doubles x = values(*source, 0);
  double variance = 0, first = 0;
  for (std::size_t t = 1; t < x.size(); ++t) {
    variance += x[t] * x[t];
    first += x[t] * x[t - 1];
  }
  EXPECT_NEAR(first / variance, 0.5 / 1.3, 0.02);
  EXPECT_NEAR(mean(x), 0, 0.05);
  const auto drawn = make("autoregressive", 20000, {{"order", "5"}});
  EXPECT_EQ(coefficients(*drawn, 0).size(), 5u);
  for (const double value : values(*drawn, 0)) ASSERT_LT(std::abs(value), 1e4);
}

// A line of the grating is cos(speed . place + phase): its wave number along each axis tells the
// class.
TEST_F(SynthesizeTest, ImagesShowTheDirectionOfTheirClass) {
  const auto source = make("images", 40, {{"shape", "24,30,2"}, {"classes", "4"}, {"noise", "0"}});
  ASSERT_EQ(source->arrays()[0].sample, (Shape{24, 30, 2}));
  EXPECT_EQ(source->arrays()[0].dtype, DType::kU8);
  const Doubles x = values(*source, 0), y = values(*source, 1);
  for (std::size_t id = 0; id < 40; ++id) {
    const auto pixel = [&](std::size_t row, std::size_t column) {
      return x[((id * 24 + row) * 30 + column) * 2] - 127.5;
    };
    // The direction in which the image changes as that class does; others do not fit.
    std::vector<double> misfit;
    for (int k = 0; k < 4; ++k) {
      const double speed = 2 * std::numbers::pi / 6, direction = std::numbers::pi * k / 4;
      const double down = 2 * std::cos(speed * std::sin(direction));
      const double right = 2 * std::cos(speed * std::cos(direction));
      const double both = 2 * std::cos(speed * (std::sin(direction) + std::cos(direction)));
      double sum = 0;
      for (std::size_t r = 1; r < 23; ++r) {
        for (std::size_t c = 1; c < 29; ++c) {
          sum += std::abs(pixel(r - 1, c) + pixel(r + 1, c) - down * pixel(r, c));
          sum += std::abs(pixel(r, c - 1) + pixel(r, c + 1) - right * pixel(r, c));
          sum += std::abs(pixel(r - 1, c - 1) + pixel(r + 1, c + 1) - both * pixel(r, c));
        }
      }
      misfit.push_back(sum);
    }
    EXPECT_EQ(y[id], static_cast<double>(id % 4));
    EXPECT_EQ(std::ranges::min_element(misfit) - misfit.begin(),
              static_cast<std::ptrdiff_t>(y[id]));
  }
}

TEST_F(SynthesizeTest, WrongOptionsAreRefused) {
  const auto refused = [](const std::string& kind, Given given) {
    return message_of([&] { make(kind, 10, std::move(given)); });
  };
  EXPECT_STARTS(refused("spiral", {}),
                "data synthesize: no kind 'spiral'; did you mean 'spirals'?; kinds are linear, ");
  EXPECT_EQ(refused("linear", {{"classes", "3"}}),
            "--classes is an option of spirals, images, not of linear");
  EXPECT_STARTS(refused("linear", {{"features", "0"}}), "--features expects an integer from 1");
  EXPECT_STARTS(refused("linear", {{"noise", "nan"}}), "--noise expects a number from 0");
  EXPECT_STARTS(refused("linear", {{"noise", "-1"}}), "--noise expects a number from 0");
  EXPECT_STARTS(refused("xor", {{"features", "1"}}), "--features expects an integer from 2");
  EXPECT_STARTS(refused("images", {{"shape", "8"}}), "--shape: found (8), expected H,W or H,W,C");
  EXPECT_STARTS(refused("images", {{"shape", "8,8,8,8"}}), "--shape: found 4 numbers");
  EXPECT_STARTS(refused("images", {{"shape", "8,x"}}), "--shape: found 'x'");
  EXPECT_STARTS(refused("images", {{"shape", "4294967296,4294967296,4294967296"}}),
                "--shape: 4294967296,4294967296,4294967296 has too many elements");
  EXPECT_STARTS(refused("sine", {{"period", "0"}}), "--period expects a number");
  EXPECT_STARTS(refused("autoregressive", {{"coefficients", "1.2"}}),
                "--coefficients 1.2: the process grows without bound");
  EXPECT_STARTS(refused("autoregressive", {{"coefficients", "0.5,0.5"}}),
                "--coefficients 0.5,0.5: the process grows without bound");
  EXPECT_STARTS(refused("autoregressive", {{"coefficients", "0.5,x"}}),
                "--coefficients: found 'x'");
  EXPECT_STARTS(refused("autoregressive", {{"coefficients", "0.5"}, {"order", "1"}}),
                "--coefficients and --order exclude each other");
  EXPECT_STARTS(message_of([] { make("xor", 0); }), "--samples is 0");
}

}  // namespace
}  // namespace lockstep
