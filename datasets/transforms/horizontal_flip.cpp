#include "datasets/transforms/horizontal_flip.h"

#include <algorithm>

#include "core/base/error.h"

namespace lockstep {
namespace {

class HorizontalFlip final : public Transform {
 public:
  explicit HorizontalFlip(double probability) : probability_(probability) {}

  std::string_view kind() const override { return "horizontal_flip"; }
  Shape output(const Shape& sample) const override {
    image_extents(kind(), sample);
    return sample;
  }
  void apply(const Shape& sample, const std::uint8_t* from, std::uint8_t* to,
             const SampleRandom* random) const override {
    flip(sample, from, to, *random);
  }
  void apply(const Shape& sample, const float* from, float* to, const SampleRandom* random) const override {
    flip(sample, from, to, *random);
  }

 private:
  template <typename Value>
  void flip(const Shape& sample, const Value* from, Value* to, const SampleRandom& random) const {
    const ImageExtents image = image_extents(kind(), sample);
    const std::int64_t row = image.width * image.channels;
    if (random.uniform(0) >= probability_) {
      std::copy_n(from, image.height * row, to);
      return;
    }
    for (std::int64_t y = 0; y < image.height; ++y, from += row, to += row) {
      for (std::int64_t x = 0; x < image.width; ++x) {
        std::copy_n(from + (image.width - 1 - x) * image.channels, image.channels, to + x * image.channels);
      }
    }
  }

  double probability_;
};

}  // namespace

TransformPtr horizontal_flip(double probability) {
  check_input(probability >= 0 && probability <= 1, "horizontal_flip: the probability is ", probability,
              ", expected a number from 0 to 1");
  return std::make_shared<HorizontalFlip>(probability);
}

void register_horizontal_flip(TransformRegistry& registry) {
  registry.add("horizontal_flip", [](Settings& settings) {
    const double probability = settings.real("probability", 0.5);
    if (probability < 0 || probability > 1) {
      settings.refuse("probability", text("found ", probability, ", expected a number from 0 to 1"));
    }
    return horizontal_flip(probability);
  });
}

}  // namespace lockstep
