// Initial values of parameters. Names and definitions are those of Keras 3 (keras.initializers),
// which agree with PyTorch's torch.nn.init where both have them (glorot = xavier, he = kaiming with
// fan_in). Normal variants of glorot, he and lecun are truncated at two standard deviations, as in
// Keras. Glorot & Bengio, AISTATS 2010; He et al., ICCV 2015; LeCun et al., 1998; orthogonal: Saxe
// et al., 2014.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/base/random.h"
#include "core/base/shape.h"

namespace lockstep {

struct Initializer {
  // "zeros", "ones", "constant", "uniform", "normal", "glorot_uniform", "glorot_normal",
  // "he_uniform", "he_normal", "lecun_uniform", "lecun_normal", "orthogonal"
  std::string kind = "glorot_uniform";
  // constant: the value; uniform: values in [-value, value); normal: standard deviation;
  // orthogonal: the gain. 0 means Keras' default: 0.05 for uniform and normal, 1 for orthogonal.
  double value = 0.0;
  // Set by the layer; 0: from the shape, whose last two axes are inputs and outputs.
  std::int64_t fan_in = 0, fan_out = 0;

  // Fills `values` (shape.elements() of them, row-major). A pure function of the arguments.
  void fill(std::span<float> values, const Shape& shape, const RandomStream& random) const;

  // What is wrong with a `value` that was given ("expected ..."); empty where it may be.
  std::string wrong_value() const;
  // Throws bad_input where a tensor of that shape cannot be filled.
  void check(const Shape& shape) const;

  // All valid kinds.
  static std::vector<std::string> kinds();
};

}  // namespace lockstep
