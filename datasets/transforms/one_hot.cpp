#include "datasets/transforms/one_hot.h"

#include <algorithm>

#include "core/base/error.h"

namespace lockstep {
namespace {

class OneHot final : public Transform {
 public:
  explicit OneHot(std::int64_t classes) : classes_(classes) {}

  std::string_view kind() const override { return "one_hot"; }
  Stage stage() const override { return Stage::kNumbers; }
  bool training_only() const override { return false; }
  std::int64_t integers_below() const override { return classes_; }
  Shape output(const Shape& sample) const override {
    check_input(sample.rank() + 1 < Shape::kMaxRank, kind(), ": a sample is ", sample, ", which has no room for classes");
    return sample.append(classes_);
  }
  void apply(const Shape& sample, const float* from, float* to, const SampleRandom*) const override {
    std::fill_n(to, sample.elements() * classes_, 0.0f);
    for (std::int64_t i = 0; i < sample.elements(); ++i, to += classes_) {
      if (from[i] >= 0 && from[i] < static_cast<float>(classes_)) to[static_cast<std::int64_t>(from[i])] = 1.0f;
    }
  }

 private:
  std::int64_t classes_;
};

}  // namespace

TransformPtr one_hot(std::int64_t classes) {
  check_input(classes >= 2 && classes <= 1 << 24, "one_hot: ", classes, " classes, expected 2 or more");
  return std::make_shared<OneHot>(classes);
}

void register_one_hot(TransformRegistry& registry) {
  registry.add("one_hot", [](Settings& settings) {
    const std::int64_t classes = settings.integer("classes");
    if (classes < 2 || classes > 1 << 24) settings.refuse("classes", text("found ", classes, ", expected 2 or more"));
    return one_hot(classes);
  });
}

}  // namespace lockstep
