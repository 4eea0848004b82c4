#include "datasets/transforms/cutout.h"

#include <algorithm>

#include "core/base/error.h"

namespace lockstep {
namespace {

class Cutout final : public Transform {
 public:
  explicit Cutout(const CutoutOptions& options) : options_(options) {}

  std::string_view kind() const override { return "cutout"; }
  Shape output(const Shape& sample) const override {
    image_extents(kind(), sample);
    return sample;
  }
  void apply(const Shape& sample, const std::uint8_t* from, std::uint8_t* to,
             const SampleRandom* random) const override {
    cut(sample, from, to, *random);
  }
  void apply(const Shape& sample, const float* from, float* to, const SampleRandom* random) const override {
    cut(sample, from, to, *random);
  }

 private:
  template <typename Value>
  void cut(const Shape& sample, const Value* from, Value* to, const SampleRandom& random) const {
    const ImageExtents image = image_extents(kind(), sample);
    std::copy_n(from, image.height * image.width * image.channels, to);
    for (std::int64_t hole = 0; hole < options_.holes; ++hole) {
      const auto k = static_cast<std::uint64_t>(hole) * 2;
      const std::int64_t y0 = random.below(image.height, k) - options_.size / 2;
      const std::int64_t x0 = random.below(image.width, k + 1) - options_.size / 2;
      const std::int64_t left = std::max<std::int64_t>(x0, 0), right = std::min(x0 + options_.size, image.width);
      for (std::int64_t y = std::max<std::int64_t>(y0, 0); y < std::min(y0 + options_.size, image.height); ++y) {
        std::fill_n(to + (y * image.width + left) * image.channels, (right - left) * image.channels, Value{0});
      }
    }
  }

  CutoutOptions options_;
};

}  // namespace

TransformPtr cutout(const CutoutOptions& options) {
  check_input(options.size >= 1 && options.holes >= 1, "cutout: size ", options.size, " and holes ", options.holes,
              ", expected 1 or more");
  return std::make_shared<Cutout>(options);
}

void register_cutout(TransformRegistry& registry) {
  registry.add("cutout", [](Settings& settings) {
    CutoutOptions options;
    options.size = settings.integer("size", options.size);
    options.holes = settings.integer("holes", options.holes);
    for (const char* key : {"size", "holes"}) {
      if (settings.integer(key, 1) < 1) settings.refuse(key, "expected 1 or more");
    }
    return cutout(options);
  });
}

}  // namespace lockstep
