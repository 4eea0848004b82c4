#include "datasets/normalize.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/base/error.h"
#include "core/base/settings.h"
#include "datasets/convert.h"

namespace lockstep {
namespace {

// What is gathered of one feature.
struct Moments {
  double sum = 0.0;
  double squares = 0.0;  // of the differences from the mean
  double least = std::numeric_limits<double>::infinity();
  double greatest = -std::numeric_limits<double>::infinity();
};

// Calls visit(feature, value) for every element of the samples, in order.
template <typename Visit>
void for_each_element(const Subset& samples, int array, std::int64_t features, const Visit& visit) {
  const DatasetArray& about = samples.dataset->arrays()[static_cast<std::size_t>(array)];
  const std::int64_t elements = about.sample.elements();
  for (const std::int64_t id : samples.ids) {
    with_values(about.dtype, samples.dataset->row(array, id), [&](const auto* values) {
      std::int64_t feature = 0;
      for (std::int64_t i = 0; i < elements; ++i) {
        visit(feature, as_double(values[i]));
        if (++feature == features) feature = 0;
      }
    });
  }
}

// Two passes, as the sum of squares alone would lose digits where the mean is large.
std::vector<Moments> compute_moments(const Subset& samples, int array, std::int64_t features) {
  std::vector<Moments> moments(static_cast<std::size_t>(features));
  for_each_element(samples, array, features, [&](std::int64_t feature, double value) {
    Moments& one = moments[static_cast<std::size_t>(feature)];
    one.sum += value;
    one.least = std::min(one.least, value);
    one.greatest = std::max(one.greatest, value);
  });
  const DatasetArray& about = samples.dataset->arrays()[static_cast<std::size_t>(array)];
  const double count =
      static_cast<double>(samples.size()) * static_cast<double>(about.sample.elements() / features);
  std::vector<double> means;
  for (const Moments& one : moments) means.push_back(one.sum / count);
  for_each_element(samples, array, features, [&](std::int64_t feature, double value) {
    const double difference = value - means[static_cast<std::size_t>(feature)];
    moments[static_cast<std::size_t>(feature)].squares += difference * difference;
  });
  return moments;
}

std::int64_t last_extent(const DatasetArray& array) {
  return array.sample.rank() == 0 ? 1 : array.sample[-1];
}

}  // namespace

std::vector<std::string> normalization_kinds() {
  return {"none", "standard", "minmax", "scale"};
}

Normalization compute_normalization(const NormalizeOptions& options, const Subset& training,
                                    int array) {
  const std::vector<std::string> kinds = normalization_kinds();
  if (std::ranges::find(kinds, options.kind) == kinds.end()) {
    const std::string nearest = nearest_name(options.kind, kinds);
    bad_input("normalize: \"", options.kind, "\" is not known",
              nearest.empty() ? "" : "; did you mean \"" + nearest + "\"?",
              "; valid: \"none\", \"standard\", \"minmax\", \"scale\"");
  }
  check_input(options.axis == "feature" || options.axis == "array", "normalize axis: \"",
              options.axis, "\" is not known; valid: \"feature\", \"array\"");
  if (options.kind == "none") return {};
  if (options.kind == "scale") {
    check_input(std::isfinite(options.factor), "normalize: the factor is ", options.factor,
                ", expected a finite number");
    return {{0.0}, {options.factor}};
  }
  const DatasetArray& about = training.dataset->arrays()[static_cast<std::size_t>(array)];
  check_input(training.size() > 0, "normalize: array \"", about.name, "\" has no training samples");
  if (about.sample.elements() == 0) return {};
  training.dataset->check_finite(array);
  const std::int64_t features = options.axis == "feature" ? last_extent(about) : 1;
  const double count = static_cast<double>(training.size()) *
                       static_cast<double>(about.sample.elements() / features);
  Normalization out;
  for (const Moments& one : compute_moments(training, array, features)) {
    const bool constant = one.least == one.greatest;
    const bool standard = options.kind == "standard";
    const double width = standard ? std::sqrt(one.squares / count) : one.greatest - one.least;
    // The sum of equal values may round, their least does not.
    out.shift.push_back(standard && !constant ? one.sum / count : one.least);
    out.scale.push_back(constant ? 1.0 : 1.0 / width);
  }
  return out;
}

void convert_samples(const DatasetArray& array, const Normalization& normalization,
                     const std::byte* row, std::int64_t count, float* out) {
  const std::int64_t elements = count * array.sample.elements();
  const auto features = static_cast<std::int64_t>(normalization.scale.size());
  const double* shift = normalization.shift.data();
  const double* scale = normalization.scale.data();
  with_values(array.dtype, row, [&](const auto* values) {
    if (features == 0) {
      for (std::int64_t i = 0; i < elements; ++i) out[i] = static_cast<float>(values[i]);
    } else if (features == 1) {
      for (std::int64_t i = 0; i < elements; ++i) {
        out[i] = static_cast<float>((as_double(values[i]) - shift[0]) * scale[0]);
      }
    } else {
      for (std::int64_t i = 0; i < elements; i += features) {
        for (std::int64_t f = 0; f < features; ++f) {
          out[i + f] = static_cast<float>((as_double(values[i + f]) - shift[f]) * scale[f]);
        }
      }
    }
  });
}

void check_fits(const Normalization& normalization, const DatasetArray& array) {
  require(normalization.shift.size() == normalization.scale.size(), "a normalisation with ",
          normalization.shift.size(), " shifts and ", normalization.scale.size(), " scales");
  const auto features = static_cast<std::int64_t>(normalization.scale.size());
  check_input(features <= 1 || features == last_extent(array), "array \"", array.name,
              "\": the normalisation has ", features, " features, a sample is ", array.sample);
}

}  // namespace lockstep
