#include "datasets/transforms/random_crop.h"

#include <algorithm>

#include "core/base/error.h"

namespace lockstep {
namespace {

class RandomCrop final : public Transform {
 public:
  explicit RandomCrop(const RandomCropOptions& options) : options_(options) {}

  std::string_view kind() const override { return "random_crop"; }
  bool training_only() const override { return false; }

  Shape output(const Shape& sample) const override {
    const ImageExtents image = image_extents(kind(), sample);
    const auto [height, width] = part_of(image);
    check_input(height <= image.height + 2 * options_.padding && width <= image.width + 2 * options_.padding,
                kind(), ": a part of ", height, " x ", width, " does not fit into an image of ", image.height, " x ",
                image.width, " with ", options_.padding, " pixels around it");
    return sample.with(0, height).with(1, width);
  }

  void apply(const Shape& sample, const std::uint8_t* from, std::uint8_t* to,
             const SampleRandom* random) const override {
    crop(sample, from, to, random);
  }
  void apply(const Shape& sample, const float* from, float* to, const SampleRandom* random) const override {
    crop(sample, from, to, random);
  }

 private:
  struct Part {
    std::int64_t height, width;
  };
  Part part_of(const ImageExtents& image) const {
    return {options_.height > 0 ? options_.height : image.height, options_.width > 0 ? options_.width : image.width};
  }

  template <typename Value>
  void crop(const Shape& sample, const Value* from, Value* to, const SampleRandom* random) const {
    const ImageExtents image = image_extents(kind(), sample);
    const auto [height, width] = part_of(image);
    const std::int64_t room_y = image.height + 2 * options_.padding - height;
    const std::int64_t room_x = image.width + 2 * options_.padding - width;
    // Where the part begins in the image; negative in the padding.
    const std::int64_t y0 = (random ? random->below(room_y + 1, 0) : room_y / 2) - options_.padding;
    const std::int64_t x0 = (random ? random->below(room_x + 1, 1) : room_x / 2) - options_.padding;
    const std::int64_t left = std::clamp<std::int64_t>(-x0, 0, width);
    const std::int64_t right = std::clamp<std::int64_t>(image.width - x0, left, width);
    for (std::int64_t y = 0; y < height; ++y, to += width * image.channels) {
      const std::int64_t source = y0 + y;
      if (source < 0 || source >= image.height) {
        std::fill_n(to, width * image.channels, Value{0});
        continue;
      }
      const Value* row = from + source * image.width * image.channels;
      std::fill_n(to, left * image.channels, Value{0});
      std::copy(row + (x0 + left) * image.channels, row + (x0 + right) * image.channels, to + left * image.channels);
      std::fill_n(to + right * image.channels, (width - right) * image.channels, Value{0});
    }
  }

  RandomCropOptions options_;
};

}  // namespace

TransformPtr random_crop(const RandomCropOptions& options) {
  check_input(options.padding >= 0 && options.height >= 0 && options.width >= 0,
              "random_crop: padding ", options.padding, ", height ", options.height, ", width ", options.width,
              ": expected 0 or more");
  return std::make_shared<RandomCrop>(options);
}

void register_random_crop(TransformRegistry& registry) {
  registry.add("random_crop", [](Settings& settings) {
    RandomCropOptions options;
    options.padding = settings.integer("padding", options.padding);
    options.height = settings.integer("height", options.height);
    options.width = settings.integer("width", options.width);
    for (const char* key : {"padding", "height", "width"}) {
      if (settings.integer(key, 0) < 0) settings.refuse(key, "expected 0 or more");
    }
    return random_crop(options);
  });
}

}  // namespace lockstep
