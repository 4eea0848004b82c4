#include "datasets/synthesize/images.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numbers>

#include "core/base/error.h"

namespace lockstep {
namespace {

constexpr std::uint32_t kPhases = 0, kNoise = 1;
constexpr double kStripe = 6;  // pixels from one stripe to the next

class ImagesSource : public SampleSource {
 public:
  explicit ImagesSource(const SynthesisRequest& request)
      : classes_(request.options.number("classes", 1, 1 << 24, 10)),
        scale_(request.options.real("noise", 0, 1e6, 0.1)),
        phases_(request.seed, kPhases),
        noise_(request.seed, kNoise) {
    size_ = request.samples;
    Shape shape = request.options.shape("shape", 3).value_or(Shape{16, 16, 1});
    check_input(shape.rank() >= 2, "--shape: found ", shape, ", expected H,W or H,W,C");
    if (shape.rank() == 2) shape = shape.append(1);
    arrays_ = {{"x", DType::kU8, shape}, {"y", DType::kI32, {}}};
  }

  void read(std::size_t array, Range rows, std::byte* to) override {
    for (std::int64_t id = rows.begin; id < rows.end; ++id) {
      if (array == 0) {
        draw(id, to);
        to += arrays_[0].row_bytes();
        continue;
      }
      const auto label = static_cast<std::int32_t>(id % classes_);
      std::memcpy(to, &label, sizeof(label));
      to += sizeof(label);
    }
  }

 private:
  void draw(std::int64_t id, std::byte* to) const {
    const Shape& shape = arrays_[0].sample;
    const double direction =
        std::numbers::pi * static_cast<double>(id % classes_) / static_cast<double>(classes_);
    const double speed = 2 * std::numbers::pi / kStripe;
    const double down = speed * std::sin(direction), right = speed * std::cos(direction);
    const double phase = 2 * std::numbers::pi * phases_.uniform(id, 0);
    std::uint64_t element = 0;
    for (std::int64_t y = 0; y < shape[0]; ++y) {
      for (std::int64_t x = 0; x < shape[1]; ++x) {
        for (std::int64_t c = 0; c < shape[2]; ++c, ++element) {
          const double angle = down * static_cast<double>(y) + right * static_cast<double>(x) +
                               phase + static_cast<double>(c);
          const double light = 0.5 + 0.4 * std::cos(angle) + scale_ * noise_.normal(id, element);
          *to++ = static_cast<std::byte>(std::lround(std::clamp(light, 0.0, 1.0) * 255));
        }
      }
    }
  }

  std::int64_t classes_;
  double scale_;
  SynthesisRandom phases_, noise_;
};

}  // namespace

SyntheticKind images_kind() {
  return {"images",
          "stripes and noise; the class is the direction of the stripes",
          {{"shape", "H,W,C", "of an image (default 16,16,1)"},
           {"classes", "K", "directions (default 10)"},
           {"noise", "X", "standard deviation of what is added, of a range of 1 (default 0.1)"}},
          [](const SynthesisRequest& request) -> std::unique_ptr<SampleSource> {
            return std::make_unique<ImagesSource>(request);
          }};
}

}  // namespace lockstep
