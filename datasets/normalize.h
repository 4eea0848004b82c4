// Normalisation of inputs: y = (x - shift) * scale, for each feature or for the whole array. It is
// computed on the training samples only, in double, and kept with the run.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "datasets/dataset.h"

namespace lockstep {

struct NormalizeOptions {
  // "none"      y = x
  // "standard"  mean 0, standard deviation 1 (of the population: divided by n, as scikit-learn and
  // Keras do) "minmax"    least 0, greatest 1 "scale"     y = x * factor
  std::string kind = "none";
  // "feature": each entry of the last axis by itself; "array": all elements alike, for images.
  std::string axis = "feature";
  double factor = 1.0;
};

// Plain data, so that it can be stored. Both vectors have the same length: 0 (y = x), 1 (the whole
// array), or the extent of the last axis. A feature that is constant has scale 1, so it becomes 0.
struct Normalization {
  std::vector<double> shift;
  std::vector<double> scale;

  bool operator==(const Normalization&) const = default;
};

// Throws bad_input where kind or axis is not known, or a value is NaN or infinite.
Normalization compute_normalization(const NormalizeOptions& options, const Subset& training,
                                    int array);

// Converts samples to float and normalises them: out[i] = float((double(x[i]) - shift) * scale).
// REQUIRES: `count` samples of array `array` start at `row`; the normalization fits the array.
void convert_samples(const DatasetArray& array, const Normalization& normalization,
                     const std::byte* row, std::int64_t count, float* out);

// Throws bad_input where the lengths of `normalization` do not fit the array (a stored one and
// other data).
void check_fits(const Normalization& normalization, const DatasetArray& array);

std::vector<std::string> normalization_kinds();

}  // namespace lockstep
