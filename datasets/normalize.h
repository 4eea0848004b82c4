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
  // Keras do)
  // "minmax"    least 0, greatest 1
  // "scale"     y = x * factor
  // "given"     y = (x - mean) / deviation
  std::string kind = "none";
  // "feature": each entry of the last axis by itself; "array": all elements alike, for images.
  std::string axis = "feature";
  double factor = 1.0;
  std::vector<double> mean = {}, deviation = {};  // of "given": one number, or one for each feature
};

// Plain data, so that it can be stored. Both vectors have the same length: 0 (y = x), 1 (the whole
// array), or the extent of the last axis. A feature that is constant has scale 1, so it becomes 0.
struct Normalization {
  std::vector<double> shift;
  std::vector<double> scale;

  bool operator==(const Normalization&) const = default;
};

// Throws bad_input where kind or axis is not known, or a value is NaN or infinite. Reads what is not
// held, block by block.
Normalization compute_normalization(const NormalizeOptions& options, const Subset& training,
                                    int array);

// The same by several workers: the rows are cut into kMomentParts parts, whose moments are merged in
// their order, so the result has the same bits whoever computes which part.
inline constexpr int kMomentParts = 64;
// True where values have to be looked at: then normalization_from() needs all parts.
bool needs_moments(const NormalizeOptions& options);
// Numbers that only normalization_from() understands.
std::vector<double> compute_moments(const NormalizeOptions& options, const Subset& training, int array,
                                    int part);
// `parts`: by number, or none where they are not needed.
Normalization normalization_from(const NormalizeOptions& options, const Subset& training, int array,
                                 const std::vector<std::vector<double>>& parts);

// Converts samples to float and normalises them: out[i] = float((double(x[i]) - shift) * scale).
// REQUIRES: `elements` elements of type `dtype` are at `values`, whole rows of as many features as the normalization has.
void convert_samples(DType dtype, const Normalization& normalization, const std::byte* values,
                     std::int64_t elements, float* out);

// Throws bad_input where the lengths of `normalization` do not fit the array (a stored one and
// other data).
void check_fits(const Normalization& normalization, const DatasetArray& array);


}  // namespace lockstep
