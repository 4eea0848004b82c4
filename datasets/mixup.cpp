#include "datasets/mixup.h"

#include <algorithm>
#include <cmath>

namespace lockstep {
namespace {

constexpr std::uint64_t kTries = 64;  // of the rejection below; each is accepted with 95 % and more

}  // namespace

// A number with the gamma distribution of shape alpha: G. Marsaglia, W. Tsang, "A simple method for generating gamma
// variables", 2000; for alpha below 1 by a draw of alpha + 1.
double Mixup::gamma(std::uint32_t epoch, std::uint32_t sample, std::uint64_t first) const {
  const double shape = alpha_ < 1 ? alpha_ + 1 : alpha_;
  const double d = shape - 1.0 / 3.0, c = 1.0 / std::sqrt(9.0 * d);
  const auto uniform = [&](std::uint64_t k) { return (random_.word(epoch, sample, k) + 0.5) * 0x1p-32; };
  double value = d;
  for (std::uint64_t k = first; k < first + kTries; ++k) {
    const double x = random_.normal(epoch, sample, 2 * k);
    const double v = std::pow(1.0 + c * x, 3);
    if (v <= 0) continue;
    if (std::log(uniform(4 * k + 2)) < 0.5 * x * x + d - d * v + d * std::log(v)) {
      value = d * v;
      break;
    }
  }
  return alpha_ < 1 ? value * std::pow(uniform(4 * (first + kTries) + 3), 1.0 / alpha_) : value;
}

double Mixup::weight(std::int64_t epoch, std::int64_t sample) const {
  const auto e = static_cast<std::uint32_t>(epoch), s = static_cast<std::uint32_t>(sample);
  const double a = gamma(e, s, 0), b = gamma(e, s, 2 * kTries);
  return a + b > 0 ? a / (a + b) : 1.0;
}

void Mixup::mix(std::int64_t epoch, std::int64_t batch, std::int64_t microbatch,
                std::span<const std::int64_t> sample_ids, std::span<const Rows> arrays, std::vector<float>& room) const {
  const auto count = static_cast<std::int64_t>(sample_ids.size());
  if (count < 2) return;
  // Everyone's partner is the same number of places on: nobody is mixed with itself, everybody is a partner once. The
  // batch takes the place of the sample in the counter; the element is far from those of weight().
  const std::uint64_t word = random_.word(static_cast<std::uint32_t>(epoch), static_cast<std::uint32_t>(batch),
                                          (std::uint64_t{1} << 33) + static_cast<std::uint64_t>(microbatch));
  const std::int64_t shift = 1 + static_cast<std::int64_t>(word * static_cast<std::uint64_t>(count - 1) >> 32);
  for (const Rows& array : arrays) {
    const auto all = static_cast<std::size_t>(count * array.elements);
    if (room.size() < all) room.resize(all);
    std::copy_n(array.values, all, room.begin());
    for (std::int64_t i = 0; i < count; ++i) {
      const auto own = static_cast<float>(weight(epoch, sample_ids[static_cast<std::size_t>(i)]));
      const float* partner = room.data() + (i + shift) % count * array.elements;
      float* values = array.values + i * array.elements;
      for (std::int64_t e = 0; e < array.elements; ++e) values[e] = own * values[e] + (1 - own) * partner[e];
    }
  }
}

}  // namespace lockstep
