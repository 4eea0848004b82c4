#include "datasets/transforms/rotation.h"

#include <cmath>
#include <numbers>
#include <type_traits>

#include "core/base/error.h"

namespace lockstep {
namespace {

template <typename Value>
class Pixels {
 public:
  Pixels(const ImageExtents& image, const Value* values) : image_(image), values_(values) {}

  double at(std::int64_t y, std::int64_t x, std::int64_t channel) const {
    if (y < 0 || x < 0 || y >= image_.height || x >= image_.width) return 0;
    return static_cast<double>(values_[(y * image_.width + x) * image_.channels + channel]);
  }

  double between(double y, double x, std::int64_t channel) const {
    const double y0 = std::floor(y), x0 = std::floor(x);
    const double down = y - y0, right = x - x0;
    const auto row = static_cast<std::int64_t>(y0), column = static_cast<std::int64_t>(x0);
    const double above = at(row, column, channel) * (1 - right) + at(row, column + 1, channel) * right;
    const double below = at(row + 1, column, channel) * (1 - right) + at(row + 1, column + 1, channel) * right;
    return above * (1 - down) + below * down;
  }

 private:
  ImageExtents image_;
  const Value* values_;
};

class Rotation final : public Transform {
 public:
  explicit Rotation(double degrees) : degrees_(degrees) {}

  std::string_view kind() const override { return "rotation"; }
  Shape output(const Shape& sample) const override {
    image_extents(kind(), sample);
    return sample;
  }
  void apply(const Shape& sample, const std::uint8_t* from, std::uint8_t* to,
             const SampleRandom* random) const override {
    turn(sample, from, to, *random);
  }
  void apply(const Shape& sample, const float* from, float* to, const SampleRandom* random) const override {
    turn(sample, from, to, *random);
  }

 private:
  template <typename Value>
  void turn(const Shape& sample, const Value* from, Value* to, const SampleRandom& random) const {
    const ImageExtents image = image_extents(kind(), sample);
    const double angle = (2 * random.uniform(0) - 1) * degrees_ * std::numbers::pi / 180;
    const double cosine = std::cos(angle), sine = std::sin(angle);
    const double middle_y = static_cast<double>(image.height - 1) / 2, middle_x = static_cast<double>(image.width - 1) / 2;
    const Pixels<Value> pixels(image, from);
    for (std::int64_t y = 0; y < image.height; ++y) {
      for (std::int64_t x = 0; x < image.width; ++x) {
        const double dy = static_cast<double>(y) - middle_y, dx = static_cast<double>(x) - middle_x;
        const double source_y = middle_y + cosine * dy - sine * dx, source_x = middle_x + sine * dy + cosine * dx;
        for (std::int64_t c = 0; c < image.channels; ++c) {
          const double value = pixels.between(source_y, source_x, c);
          *to++ = std::is_integral_v<Value> ? static_cast<Value>(std::lround(value)) : static_cast<Value>(value);
        }
      }
    }
  }

  double degrees_;
};

}  // namespace

TransformPtr rotation(double degrees) {
  check_input(degrees >= 0 && degrees <= 180, "rotation: ", degrees, " degrees, expected 0 to 180");
  return std::make_shared<Rotation>(degrees);
}

void register_rotation(TransformRegistry& registry) {
  registry.add("rotation", [](Settings& settings) {
    const double degrees = settings.real("degrees");
    if (!(degrees >= 0 && degrees <= 180)) settings.refuse("degrees", text("found ", degrees, ", expected 0 to 180"));
    return rotation(degrees);
  });
}

}  // namespace lockstep
