// The two-dimensional convolution layer. Words and defaults are those of Keras 3; an integer
// `padding` is PyTorch's.
#pragma once

#include <array>
#include <string>

#include "ops/layers/layer.h"

namespace lockstep {

struct Conv2dOptions {
  std::int64_t filters = 0;                          // must be given
  std::array<std::int64_t, 2> kernel_size = {0, 0};  // must be given; height, width
  std::array<std::int64_t, 2> strides = {1, 1};
  std::string padding = "valid";  // "valid" or "same", where there is no amount
  std::array<std::int64_t, 2> padding_amount = {-1,
                                                -1};  // the same at both ends; negative: not given
  std::array<std::int64_t, 2> dilation_rate = {1, 1};
  std::int64_t groups = 1;
  std::string activation = "linear";  // one of activation_names()
  bool use_bias = true;
  // "auto": Winograd's method where oneDNN has it and finds it faster; "direct": never.
  std::string algorithm = "auto";
  Initializer kernel_initializer = {};  // glorot_uniform
  Initializer bias_initializer = {.kind = "zeros"};
};

// (batch, h, w, in) -> (batch, oh, ow, filters). Parameters "weight" (kh, kw, in / groups, filters)
// and "bias" (filters).
LayerPtr conv2d(const Conv2dOptions& options);

// [[layer]] type = "conv2d"
void register_conv2d_layer(LayerRegistry& registry);

}  // namespace lockstep
