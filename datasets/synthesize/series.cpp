#include "datasets/synthesize/series.h"

#include <charconv>
#include <cmath>
#include <cstring>
#include <numbers>
#include <optional>

#include "core/base/error.h"

namespace lockstep {
namespace {

constexpr std::uint32_t kWaves = 0, kNoise = 1, kCoefficients = 2;
constexpr double kMost = 1e30;
constexpr std::int64_t kWarmUp = 1000;

std::int64_t channels_of(const SynthesisRequest& request) {
  return request.options.number("channels", 1, 1 << 20, 1);
}

class WavesSource : public SampleSource {
 public:
  WavesSource(const SynthesisRequest& request, bool sum)
      : channels_(channels_of(request)),
        scale_(request.options.real("noise", 0, kMost, 0.05)),
        noise_(request.seed, kNoise) {
    size_ = request.samples;
    is_series_ = true;
    arrays_ = {{"x", DType::kF32, Shape{channels_}}};
    const std::int64_t waves = sum ? request.options.number("waves", 1, 10000, 3) : 1;
    const double period = request.options.real("period", 1e-6, 1e12, 50);
    const SynthesisRandom random(request.seed, kWaves);
    waves_.resize(static_cast<std::size_t>(channels_));
    for (std::int64_t channel = 0; channel < channels_; ++channel) {
      for (std::int64_t w = 0; w < waves; ++w) {
        const auto draw = [&](std::uint64_t what) {
          return random.uniform(channel, static_cast<std::uint64_t>(w) * 4 + what);
        };
        Wave wave{2 * std::numbers::pi / period, 1, 2 * std::numbers::pi * draw(0)};
        if (sum) {
          wave.speed /= std::exp2(3 * draw(1) - 1.5);
          wave.amplitude = (0.5 + 0.5 * draw(2)) / static_cast<double>(waves);
        }
        waves_[static_cast<std::size_t>(channel)].push_back(wave);
      }
    }
  }

  void read(std::size_t, Range rows, std::byte* to) override {
    for (std::int64_t t = rows.begin; t < rows.end; ++t) {
      for (std::size_t channel = 0; channel < waves_.size(); ++channel) {
        double value = scale_ * noise_.normal(t, channel);
        for (const Wave& wave : waves_[channel]) {
          value += wave.amplitude * std::sin(wave.speed * static_cast<double>(t) + wave.phase);
        }
        const auto stored = static_cast<float>(value);
        std::memcpy(to, &stored, sizeof(stored));
        to += sizeof(stored);
      }
    }
  }

 private:
  struct Wave {
    double speed = 0;  // radians a step
    double amplitude = 1;
    double phase = 0;
  };

  std::int64_t channels_;
  double scale_;
  SynthesisRandom noise_;
  std::vector<std::vector<Wave>> waves_;  // of each channel
};

// The coefficients of the process with those partial autocorrelations.
std::vector<double> from_partial(const std::vector<double>& partial) {
  std::vector<double> a;
  for (const double last : partial) {
    std::vector<double> next(a.size() + 1);
    for (std::size_t i = 0; i < a.size(); ++i) next[i] = a[i] - last * a[a.size() - 1 - i];
    next.back() = last;
    a = std::move(next);
  }
  return a;
}

// Whether all partial autocorrelations lie within (-1, 1): the same recursion backwards.
bool is_stable(std::vector<double> a) {
  while (!a.empty()) {
    const double last = a.back();
    if (!(std::abs(last) < 1)) return false;
    std::vector<double> before(a.size() - 1);
    for (std::size_t i = 0; i < before.size(); ++i)
      before[i] = (a[i] + last * a[before.size() - 1 - i]) / (1 - last * last);
    a = std::move(before);
  }
  return true;
}

std::vector<double> coefficients_of(const SynthesisRequest& request) {
  const FormatOptions& options = request.options;
  check_input(
      !options.has("coefficients") || !options.has("order"),
      "--coefficients and --order exclude each other: there is one coefficient for each lag");
  if (!options.has("coefficients")) {
    const SynthesisRandom random(request.seed, kCoefficients);
    std::vector<double> partial;
    for (std::int64_t i = options.number("order", 1, 1000, 2); i > 0; --i)
      partial.push_back(1.8 * random.uniform(0, partial.size()) - 0.9);
    return from_partial(partial);
  }
  std::vector<double> out;
  for (const std::string& word : options.list("coefficients")) {
    double value = 0;
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
    check_input(error == std::errc() && end == word.data() + word.size(), "--coefficients: found '",
                word, "', expected numbers, as 0.6,-0.2");
    out.push_back(value);
  }
  check_input(!out.empty() && out.size() <= 1000, "--coefficients: found ", out.size(),
              " numbers, expected 1 to 1000");
  check_input(
      is_stable(out), "--coefficients ", options.word("coefficients"),
      ": the process grows without bound; expected coefficients of a stable one, as 0.6,-0.2");
  return out;
}

class AutoregressiveSource : public SampleSource {
 public:
  explicit AutoregressiveSource(const SynthesisRequest& request)
      : channels_(channels_of(request)),
        scale_(request.options.real("noise", 0, kMost, 1)),
        noise_(request.seed, kNoise),
        coefficients_(coefficients_of(request)) {
    size_ = request.samples;
    is_series_ = true;
    std::vector<std::string> shown;
    for (const double a : coefficients_) shown.push_back(text(a));
    arrays_ = {{"x", DType::kF32, Shape{channels_}, {{"coefficients", shown}}}};
    restart();
  }

  void read(std::size_t, Range rows, std::byte* to) override {
    if (rows.begin < next_) restart();
    while (next_ < rows.begin) step();
    while (next_ < rows.end) {
      step();
      for (const double value : past_[0]) {
        const auto stored = static_cast<float>(value);
        std::memcpy(to, &stored, sizeof(stored));
        to += sizeof(stored);
      }
    }
  }

 private:
  void restart() {
    past_.assign(coefficients_.size(), std::vector<double>(static_cast<std::size_t>(channels_)));
    for (next_ = -kWarmUp; next_ < 0;) step();
  }

  // Goes on to row next_.
  void step() {
    std::vector<double> now(static_cast<std::size_t>(channels_));
    for (std::size_t channel = 0; channel < now.size(); ++channel) {
      now[channel] = scale_ * noise_.normal(next_ + kWarmUp, channel);
      for (std::size_t lag = 0; lag < past_.size(); ++lag)
        now[channel] += coefficients_[lag] * past_[lag][channel];
    }
    past_.pop_back();
    past_.insert(past_.begin(), std::move(now));
    ++next_;
  }

  std::int64_t channels_;
  double scale_;
  SynthesisRandom noise_;
  std::vector<double> coefficients_;
  std::int64_t next_ = 0;
  std::vector<std::vector<double>> past_;  // the newest row first
};

const char* const kChannels = "series side by side (default 1)";

}  // namespace

SyntheticKind sine_kind() {
  return {"sine",
          "a series: a sine wave",
          {{"period", "X", "rows of a wave (default 50)"},
           {"channels", "C", kChannels},
           {"noise", "X", "standard deviation of what is added (default 0.05)"}},
          [](const SynthesisRequest& request) -> std::unique_ptr<SampleSource> {
            return std::make_unique<WavesSource>(request, false);
          }};
}

SyntheticKind sines_kind() {
  return {"sines",
          "a series: a sum of sine waves",
          {{"waves", "N", "how many (default 3)"},
           {"period", "X", "rows of a wave, up to 2.8 times more or less (default 50)"},
           {"channels", "C", kChannels},
           {"noise", "X", "standard deviation of what is added (default 0.05)"}},
          [](const SynthesisRequest& request) -> std::unique_ptr<SampleSource> {
            return std::make_unique<WavesSource>(request, true);
          }};
}

SyntheticKind autoregressive_kind() {
  return {
      "autoregressive",
      "a series: each row depends on those before it, and on chance",
      {{"order", "P", "rows on which one depends (default 2)"},
       {"coefficients", "A,B,...", "of the row before, of that before it, ...; else by the seed"},
       {"channels", "C", kChannels},
       {"noise", "X", "standard deviation of the chance (default 1)"}},
      [](const SynthesisRequest& request) -> std::unique_ptr<SampleSource> {
        return std::make_unique<AutoregressiveSource>(request);
      }};
}

}  // namespace lockstep
