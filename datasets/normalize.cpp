#include "datasets/normalize.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/base/error.h"
#include "core/base/settings.h"
#include "datasets/convert.h"

namespace lockstep {
namespace {

// What is gathered of one feature, in double.
struct Moments {
  double count = 0.0, mean = 0.0;
  double squares = 0.0;  // of the differences from the mean
  double least = std::numeric_limits<double>::infinity();
  double greatest = -std::numeric_limits<double>::infinity();
};
constexpr std::size_t kMomentDoubles = 5;

// T. Chan, G. Golub, R. LeVeque, "Updating formulae and a pairwise algorithm for computing sample
// variances", 1979.
void merge(Moments& to, const Moments& from) {
  if (from.count == 0) return;
  const double count = to.count + from.count, difference = from.mean - to.mean;
  to.squares += from.squares + difference * difference * to.count * from.count / count;
  to.mean = to.count == 0 ? from.mean : to.mean + difference * from.count / count;
  to.count = count;
  to.least = std::min(to.least, from.least);
  to.greatest = std::max(to.greatest, from.greatest);
}

// Elements that follow one another in memory.
struct Stretch {
  const std::byte* values = nullptr;
  std::int64_t elements = 0;  // whole rows
};

// Two passes, as the sum of squares alone would lose digits where the mean is large.
void add_values(std::span<Moments> to, DType dtype, const std::vector<Stretch>& stretches) {
  const auto features = static_cast<std::int64_t>(to.size());
  const auto for_each = [&](auto& by_feature, const auto& visit) {
    for (const Stretch& stretch : stretches) {
      with_values(dtype, stretch.values, [&](const auto* values) {
        for (std::int64_t i = 0; i < stretch.elements; i += features) {
          for (std::int64_t f = 0; f < features; ++f) visit(by_feature[static_cast<std::size_t>(f)], as_double(values[i + f]));
        }
      });
    }
  };
  std::vector<Moments> moments(to.size());
  for_each(moments, [](Moments& one, double value) {
    one.count += 1;
    one.mean += value;
    one.least = std::min(one.least, value);
    one.greatest = std::max(one.greatest, value);
  });
  for (Moments& one : moments) one.mean /= one.count;
  for_each(moments, [](Moments& one, double value) { one.squares += (value - one.mean) * (value - one.mean); });
  for (std::size_t f = 0; f < to.size(); ++f) merge(to[f], moments[f]);
}

// The rows that the inputs of the samples touch, each once, in order.
std::vector<Range> rows_of(const Subset& samples) {
  std::vector<Range> out;
  const std::int64_t length = samples.windows.by_rows() ? 1 : samples.windows.length;
  for (const std::int64_t id : samples.ids) {
    const std::int64_t first = samples.windows.first_row(id);
    if (out.empty() || first > out.back().end) {
      out.push_back({first, first + length});
    } else {
      out.back().end = std::max(out.back().end, first + length);
    }
  }
  return out;
}

std::int64_t last_extent(const DatasetArray& array) {
  return array.sample.rank() == 0 ? 1 : array.sample[-1];
}

}  // namespace

Normalization compute_normalization(const NormalizeOptions& options, const Subset& training,
                                    int array) {
  std::vector<std::vector<double>> parts;
  if (needs_moments(options)) {
    for (int part = 0; part < kMomentParts; ++part) {
      parts.push_back(compute_moments(options, training, array, part));
    }
  }
  return normalization_from(options, training, array, parts);
}

bool needs_moments(const NormalizeOptions& options) {
  return options.kind == "standard" || options.kind == "minmax";
}

std::vector<double> compute_moments(const NormalizeOptions& options, const Subset& training, int array,
                                    int part) {
  const Dataset& dataset = *training.dataset;
  const DatasetArray& about = dataset.arrays()[static_cast<std::size_t>(array)];
  const std::int64_t elements = about.sample.elements();
  const std::int64_t features = options.axis == "feature" ? last_extent(about) : 1;
  if (elements == 0) return {};
  std::vector<Moments> moments(static_cast<std::size_t>(features));
  const std::vector<Range> rows = rows_of(training);
  Dataset::Scratch scratch;
  std::vector<std::byte> room;
  const Range blocks = piece_of(static_cast<std::int64_t>(dataset.blocks().size()), kMomentParts, part);
  for (std::int64_t b = blocks.begin; b < blocks.end; ++b) {
    const RowBlock block = dataset.blocks()[static_cast<std::size_t>(b)];
    auto range = std::ranges::upper_bound(rows, block.begin, {}, &Range::end);
    if (range == rows.end() || range->begin >= block.end) continue;
    const std::byte* bytes = dataset.block_bytes(array, block, room, scratch);
    std::vector<Stretch> stretches;
    for (; range != rows.end() && range->begin < block.end; ++range) {
      const std::int64_t begin = std::max(range->begin, block.begin), end = std::min(range->end, block.end);
      const std::byte* from = bytes + static_cast<std::size_t>(begin - block.begin) * about.sample_bytes();
      dataset.check_finite(array, begin, end - begin, from);
      stretches.push_back({from, (end - begin) * elements});
    }
    add_values(moments, about.dtype, stretches);
  }
  std::vector<double> out;
  for (const Moments& one : moments) {
    out.insert(out.end(), {one.count, one.mean, one.squares, one.least, one.greatest});
  }
  return out;
}

namespace {

// Throws bad_input where the options are not known.
void check_kind(const NormalizeOptions& options) {
  const std::vector<std::string> kinds = {"none", "standard", "minmax", "scale", "given"};
  if (std::ranges::find(kinds, options.kind) == kinds.end()) {
    const std::string nearest = nearest_name(options.kind, kinds);
    bad_input("normalize: \"", options.kind, "\" is not known",
              nearest.empty() ? "" : "; did you mean \"" + nearest + "\"?",
              "; valid: \"none\", \"standard\", \"minmax\", \"scale\", \"given\"");
  }
  check_input(options.axis == "feature" || options.axis == "array", "normalize axis: \"",
              options.axis, "\" is not known; valid: \"feature\", \"array\"");
}

Normalization given(const NormalizeOptions& options, const DatasetArray& about) {
  check_input(options.mean.size() == options.deviation.size(), "normalize: ", options.mean.size(), " means and ",
              options.deviation.size(), " deviations, expected as many of both");
  const auto features = static_cast<std::int64_t>(options.mean.size());
  check_input(features == 1 || features == last_extent(about), "normalize: ", features,
              " means, array \"", about.name, "\" has samples of ", about.sample,
              ": expected one, or one for each entry of the last axis");
  Normalization out;
  for (std::size_t f = 0; f < options.mean.size(); ++f) {
    check_input(std::isfinite(options.mean[f]) && std::isfinite(options.deviation[f]) && options.deviation[f] > 0,
                "normalize: mean ", options.mean[f], " and deviation ", options.deviation[f],
                ", expected finite numbers and a deviation above 0");
    out.shift.push_back(options.mean[f]);
    out.scale.push_back(1.0 / options.deviation[f]);
  }
  return out;
}

}  // namespace

Normalization normalization_from(const NormalizeOptions& options, const Subset& training, int array,
                                 const std::vector<std::vector<double>>& parts) {
  check_kind(options);
  if (options.kind == "none") return {};
  if (options.kind == "scale") {
    check_input(std::isfinite(options.factor), "normalize: the factor is ", options.factor,
                ", expected a finite number");
    return {{0.0}, {options.factor}};
  }
  const DatasetArray& about = training.dataset->arrays()[static_cast<std::size_t>(array)];
  if (options.kind == "given") return given(options, about);
  check_input(training.size() > 0, "normalize: array \"", about.name, "\" has no training samples");
  if (about.sample.elements() == 0) return {};
  require(parts.size() == static_cast<std::size_t>(kMomentParts), "normalize: ", parts.size(), " parts");
  std::vector<Moments> moments(parts[0].size() / kMomentDoubles);
  for (const std::vector<double>& part : parts) {
    for (std::size_t f = 0; f < moments.size(); ++f) {
      const double* at = part.data() + f * kMomentDoubles;
      merge(moments[f], {at[0], at[1], at[2], at[3], at[4]});
    }
  }
  const bool standard = options.kind == "standard";
  Normalization out;
  for (const Moments& one : moments) {
    const bool constant = one.least == one.greatest;
    const double width = standard ? std::sqrt(one.squares / one.count) : one.greatest - one.least;
    // The mean of equal values may round, their least does not.
    out.shift.push_back(standard && !constant ? one.mean : one.least);
    out.scale.push_back(constant ? 1.0 : 1.0 / width);
  }
  return out;
}

void convert_samples(DType dtype, const Normalization& normalization, const std::byte* from,
                     std::int64_t elements, float* out) {
  const auto features = static_cast<std::int64_t>(normalization.scale.size());
  const double* shift = normalization.shift.data();
  const double* scale = normalization.scale.data();
  with_values(dtype, from, [&](const auto* values) {
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
