#include "ops/layers/initializer.h"

#include <algorithm>
#include <cmath>

#include "core/base/error.h"
#include "core/base/settings.h"

namespace lockstep {
namespace {

// Keras' range of "uniform" and standard deviation of "normal".
constexpr double kDefaultSpread = 0.05;

// Standard deviation of a standard normal distribution that is cut off at -2 and 2.
constexpr double kTruncatedDeviation = 0.87962566103423978;

void fill_uniform(std::span<float> values, double limit, const RandomStream& random) {
  for (std::size_t first = 0; first < values.size(); first += 4) {
    const PhiloxCounter words = random.block(0, 0, static_cast<std::uint32_t>(first / 4));
    for (std::size_t i = first; i < std::min(first + 4, values.size()); ++i) {
      values[i] = static_cast<float>(limit * (2.0 * uniform01(words[i - first]) - 1.0));
    }
  }
}

void fill_normal(std::span<float> values, double deviation, const RandomStream& random) {
  for (std::size_t i = 0; i < values.size(); ++i) {
    values[i] = static_cast<float>(deviation * random.normal(0, 0, i));
  }
}

// Draws again until the number lies within two standard deviations (95% do at once); the draws of
// an element are those of "steps" 0, 1, 2, ..., so they do not depend on its neighbours.
void fill_truncated_normal(std::span<float> values, double deviation, const RandomStream& random) {
  for (std::size_t i = 0; i < values.size(); ++i) {
    double draw = 0;
    std::uint32_t attempt = 0;
    do {
      draw = random.normal(attempt++, 0, i);
    } while (std::abs(draw) > 2);
    values[i] = static_cast<float>(deviation / kTruncatedDeviation * draw);
  }
}

double dot(const double* a, const double* b, std::int64_t n) {
  double sum = 0;
#pragma omp simd reduction(+ : sum)
  for (std::int64_t i = 0; i < n; ++i) sum += a[i] * b[i];
  return sum;
}

// Makes `count` random vectors of `length` >= count orthonormal, one after another: Gram and
// Schmidt's process, modified, and done twice, which is enough for orthogonality to rounding (L.
// Giraud, J. Langou, M. Rozloznik, 2005). The same as Q of a QR decomposition with a positive
// diagonal of R, so the result is uniform over all orthonormal systems. 4 count^2 length
// operations.
std::vector<double> orthonormal(std::int64_t count, std::int64_t length,
                                const RandomStream& random) {
  std::vector<double> vectors(count * length);
  for (std::size_t i = 0; i < vectors.size(); ++i) vectors[i] = random.normal(0, 0, i);
  for (std::int64_t k = 0; k < count; ++k) {
    double* v = vectors.data() + k * length;
    for (int pass = 0; pass < 2; ++pass) {
      for (std::int64_t j = 0; j < k; ++j) {
        const double* other = vectors.data() + j * length;
        const double along = dot(v, other, length);
        for (std::int64_t i = 0; i < length; ++i) v[i] -= along * other[i];
      }
    }
    const double norm = std::sqrt(dot(v, v, length));
    for (std::int64_t i = 0; i < length; ++i) v[i] /= norm;
  }
  return vectors;
}

// As a matrix (all but the last axis, last axis): orthonormal columns where it is tall, rows where
// wide.
void fill_orthogonal(std::span<float> values, const Shape& shape, double gain,
                     const RandomStream& random) {
  check_input(shape.rank() >= 2, "initializer orthogonal: shape ", shape,
              " has fewer than 2 dimensions");
  const std::int64_t columns = shape[-1], rows = shape.elements() / columns;
  const bool tall = rows >= columns;
  const std::vector<double> vectors =
      orthonormal(std::min(rows, columns), std::max(rows, columns), random);
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t c = 0; c < columns; ++c) {
      const std::int64_t from = tall ? c * rows + r : r * columns + c;
      values[r * columns + c] = static_cast<float>(gain * vectors[from]);
    }
  }
}

struct Fans {
  double in, out;
};

// As Keras: the last two axes are inputs and outputs, the axes before them the receptive field.
Fans fans_of(const Initializer& initializer, const Shape& shape) {
  double in = 1, out = 1;
  if (shape.rank() == 1) in = out = static_cast<double>(shape[0]);
  if (shape.rank() >= 2) {
    const auto field = static_cast<double>(shape.elements(0, shape.rank() - 2));
    in = field * static_cast<double>(shape[-2]);
    out = field * static_cast<double>(shape[-1]);
  }
  if (initializer.fan_in > 0) in = static_cast<double>(initializer.fan_in);
  if (initializer.fan_out > 0) out = static_cast<double>(initializer.fan_out);
  return {in, out};
}

}  // namespace

std::vector<std::string> Initializer::kinds() {
  return {"zeros",     "ones",           "constant",      "uniform",
          "normal",    "glorot_uniform", "glorot_normal", "he_uniform",
          "he_normal", "lecun_uniform",  "lecun_normal",  "orthogonal"};
}

std::string Initializer::wrong_value() const {
  const bool spread = kind == "uniform" || kind == "normal" || kind == "orthogonal";
  if (!spread && kind != "constant") return "expected none: only constant, uniform, normal and orthogonal take a value";
  if (!std::isfinite(static_cast<float>(value))) return "expected a number that fits into f32";
  if (spread && value <= 0) return "expected a number above 0";
  return {};
}

void Initializer::check(const Shape& shape) const {
  check_input(kind != "orthogonal" || shape.rank() >= 2, "the initializer orthogonal needs a matrix, the parameter is ", shape);
}

void Initializer::fill(std::span<float> values, const Shape& shape,
                       const RandomStream& random) const {
  require(static_cast<std::int64_t>(values.size()) == shape.elements(),
          "initializer: ", values.size(), " values for shape ", shape);
  if (kind == "zeros" || kind == "ones" || kind == "constant") {
    const double same = kind == "zeros" ? 0.0 : kind == "ones" ? 1.0 : value;
    std::ranges::fill(values, static_cast<float>(same));
    return;
  }
  if (values.empty()) return;
  if (kind == "uniform") return fill_uniform(values, value == 0 ? kDefaultSpread : value, random);
  if (kind == "normal") return fill_normal(values, value == 0 ? kDefaultSpread : value, random);
  if (kind == "orthogonal") return fill_orthogonal(values, shape, value == 0 ? 1 : value, random);
  const Fans fans = fans_of(*this, shape);
  double variance = 0;
  if (kind.starts_with("glorot_")) variance = 2 / (fans.in + fans.out);
  if (kind.starts_with("he_")) variance = 2 / fans.in;
  if (kind.starts_with("lecun_")) variance = 1 / fans.in;
  if (variance > 0 && kind.ends_with("_uniform")) {
    return fill_uniform(values, std::sqrt(3 * variance), random);
  }
  if (variance > 0 && kind.ends_with("_normal")) {
    return fill_truncated_normal(values, std::sqrt(variance), random);
  }
  const std::string nearest = nearest_name(kind, kinds());
  bad_input("initializer \"", kind, "\" is not known",
            nearest.empty() ? "" : "; did you mean \"" + nearest + "\"?");
}

}  // namespace lockstep
