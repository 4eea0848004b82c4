#include "datasets/synthesize/tables.h"

#include <cmath>
#include <cstring>
#include <numbers>

#include "core/base/error.h"

namespace lockstep {
namespace {

// Families of random numbers.
constexpr std::uint32_t kFeatures = 0, kCoefficients = 1, kNoise = 2, kDraws = 3;

constexpr double kMost = 1e30;

// Writes `value` as T and moves on.
template <typename T>
void put(std::byte*& to, T value) {
  std::memcpy(to, &value, sizeof(T));
  to += sizeof(T);
}

std::int64_t features_of(const SynthesisRequest& request, std::int64_t least,
                         std::int64_t fallback) {
  return request.options.number("features", least, 1 << 24, fallback);
}

// x is normal; y depends on w . x + b.
class LinearSource : public SampleSource {
 public:
  LinearSource(const SynthesisRequest& request, bool classes)
      : features_(features_of(request, 1, 8)),
        classes_(classes),
        scale_(request.options.real("noise", 0, kMost, 0.1)),
        features_random_(request.seed, kFeatures),
        noise_(request.seed, classes ? kDraws : kNoise) {
    size_ = request.samples;
    const SynthesisRandom random(request.seed, kCoefficients);
    std::vector<std::string> shown;
    for (std::int64_t i = 0; i <= features_; ++i) {
      coefficients_.push_back(random.normal(0, static_cast<std::uint64_t>(i)));
      shown.push_back(text(coefficients_.back()));
    }
    arrays_ = {{"x", DType::kF32, Shape{features_}},
               {"y", classes ? DType::kI32 : DType::kF32, {}, {{"coefficients", shown}}}};
  }

  void read(std::size_t array, Range rows, std::byte* to) override {
    for (std::int64_t id = rows.begin; id < rows.end; ++id) {
      double sum = coefficients_.back();
      for (std::int64_t i = 0; i < features_; ++i) {
        const auto x =
            static_cast<float>(features_random_.normal(id, static_cast<std::uint64_t>(i)));
        if (array == 0) put(to, x);
        sum += coefficients_[static_cast<std::size_t>(i)] * static_cast<double>(x);
      }
      if (array == 0) continue;
      if (classes_) {
        put(to, std::int32_t{noise_.uniform(id, 0) < 1 / (1 + std::exp(-sum))});
      } else {
        put(to, static_cast<float>(sum + scale_ * noise_.normal(id, 0)));
      }
    }
  }

 private:
  std::int64_t features_;
  bool classes_;
  double scale_;  // of the noise
  SynthesisRandom features_random_, noise_;
  std::vector<double> coefficients_;  // the last is b
};

class XorSource : public SampleSource {
 public:
  explicit XorSource(const SynthesisRequest& request)
      : features_(features_of(request, 2, 2)),
        scale_(request.options.real("noise", 0, kMost, 0.1)),
        random_(request.seed, kFeatures),
        noise_(request.seed, kNoise) {
    size_ = request.samples;
    arrays_ = {{"x", DType::kF32, Shape{features_}}, {"y", DType::kI32, {}}};
  }

  void read(std::size_t array, Range rows, std::byte* to) override {
    const auto clean = [&](std::int64_t id, std::int64_t i) {
      return 2 * random_.uniform(id, static_cast<std::uint64_t>(i)) - 1;
    };
    for (std::int64_t id = rows.begin; id < rows.end; ++id) {
      if (array == 1) {
        put(to, std::int32_t{(clean(id, 0) > 0) != (clean(id, 1) > 0)});
        continue;
      }
      for (std::int64_t i = 0; i < features_; ++i) {
        put(to, static_cast<float>(clean(id, i) +
                                   scale_ * noise_.normal(id, static_cast<std::uint64_t>(i))));
      }
    }
  }

 private:
  std::int64_t features_;
  double scale_;
  SynthesisRandom random_, noise_;
};

class SpiralsSource : public SampleSource {
 public:
  explicit SpiralsSource(const SynthesisRequest& request)
      : classes_(request.options.number("classes", 1, 1 << 24, 2)),
        scale_(request.options.real("noise", 0, kMost, 0.02)),
        random_(request.seed, kFeatures),
        noise_(request.seed, kNoise) {
    size_ = request.samples;
    arrays_ = {{"x", DType::kF32, Shape{2}}, {"y", DType::kI32, {}}};
  }

  void read(std::size_t array, Range rows, std::byte* to) override {
    for (std::int64_t id = rows.begin; id < rows.end; ++id) {
      const std::int64_t arm = id % classes_;
      if (array == 1) {
        put(to, static_cast<std::int32_t>(arm));
        continue;
      }
      const double t = random_.uniform(id, 0);
      const double share = static_cast<double>(arm) / static_cast<double>(classes_);
      const double angle = 2 * std::numbers::pi * (t + share);
      put(to, static_cast<float>(t * std::cos(angle) + scale_ * noise_.normal(id, 0)));
      put(to, static_cast<float>(t * std::sin(angle) + scale_ * noise_.normal(id, 1)));
    }
  }

 private:
  std::int64_t classes_;
  double scale_;
  SynthesisRandom random_, noise_;
};

}  // namespace

SyntheticKind linear_kind() {
  return {"linear",
          "y is a linear function of x, and noise",
          {{"features", "N", "numbers of a sample (default 8)"},
           {"noise", "X", "standard deviation of what is added to y (default 0.1)"}},
          [](const SynthesisRequest& request) -> std::unique_ptr<SampleSource> {
            return std::make_unique<LinearSource>(request, false);
          }};
}

SyntheticKind logistic_kind() {
  return {"logistic",
          "two classes, drawn with a probability that is a logistic function of x",
          {{"features", "N", "numbers of a sample (default 8)"}},
          [](const SynthesisRequest& request) -> std::unique_ptr<SampleSource> {
            return std::make_unique<LinearSource>(request, true);
          }};
}

SyntheticKind xor_kind() {
  return {
      "xor",
      "two classes: whether the first two numbers differ in sign",
      {{"features", "N", "numbers of a sample; those from the third on mean nothing (default 2)"},
       {"noise", "X", "standard deviation of what is added to x (default 0.1)"}},
      [](const SynthesisRequest& request) -> std::unique_ptr<SampleSource> {
        return std::make_unique<XorSource>(request);
      }};
}

SyntheticKind spirals_kind() {
  return {"spirals",
          "points on the arms of a spiral; the class is the arm",
          {{"classes", "K", "arms (default 2)"},
           {"noise", "X", "standard deviation of what is added to x (default 0.02)"}},
          [](const SynthesisRequest& request) -> std::unique_ptr<SampleSource> {
            return std::make_unique<SpiralsSource>(request);
          }};
}

}  // namespace lockstep
