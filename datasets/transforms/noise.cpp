#include "datasets/transforms/noise.h"

#include "core/base/error.h"

namespace lockstep {
namespace {

class Noise final : public Transform {
 public:
  explicit Noise(double deviation) : deviation_(deviation) {}

  std::string_view kind() const override { return "noise"; }
  Stage stage() const override { return Stage::kNumbers; }
  void apply(const Shape& sample, const float* from, float* to, const SampleRandom* random) const override {
    for (std::int64_t i = 0; i < sample.elements(); ++i) {
      to[i] = from[i] + static_cast<float>(deviation_ * random->normal(static_cast<std::uint64_t>(i)));
    }
  }

 private:
  double deviation_;
};

}  // namespace

TransformPtr noise(double deviation) {
  check_input(deviation >= 0 && deviation <= 1e30, "noise: the deviation is ", deviation, ", expected 0 or more");
  return std::make_shared<Noise>(deviation);
}

void register_noise(TransformRegistry& registry) {
  registry.add("noise", [](Settings& settings) {
    const double deviation = settings.real("deviation");
    if (!(deviation >= 0 && deviation <= 1e30)) {
      settings.refuse("deviation", text("found ", deviation, ", expected a standard deviation of 0 or more"));
    }
    return noise(deviation);
  });
}

}  // namespace lockstep
