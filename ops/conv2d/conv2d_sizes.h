// What a CUDA kernel of the convolution is asked for, in numbers.
//
// Weights lie row-major (kh, kw, in / groups, out) or transposed, (out, kh, kw, in / groups): cuDNN wants the latter, so
// kernels ask for it (conv2d_layouts_cuda), and a step transposes each weight once, however many microbatches use it. Both
// are taken everywhere.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>

#include "ops/conv2d/conv2d.h"

namespace lockstep {

// Index 0 is the height, 1 the width.
struct ConvolutionSizes {
  DType dtype = DType::kF32;  // of x, the weight and y; gradients of weights are f32
  std::int64_t batch = 0, in = 0, out = 0, groups = 1;
  std::array<std::int64_t, 2> input{}, output{}, kernel{};
  std::array<std::int64_t, 2> strides{}, dilation{}, before{}, behind{};  // before, behind: padding

  std::int64_t in_group() const { return in / groups; }
  std::int64_t out_group() const { return out / groups; }
  std::int64_t input_elements() const { return batch * input[0] * input[1] * in; }
  std::int64_t output_elements() const { return batch * output[0] * output[1] * out; }
  std::int64_t weight_elements() const { return kernel[0] * kernel[1] * in_group() * out; }
  bool empty() const { return input_elements() == 0 || output_elements() == 0; }
  std::string to_string() const;
};

// Of the three ops; of other ops: broken_invariant. bad_input where numbers are too large for the kernels.
ConvolutionSizes convolution_sizes(const KernelRequest& request);

// What happens to the sums before they are rounded to y.
struct ConvolutionEnd {
  bool bias = false, low_bias = false;  // low_bias: it is bf16 as y is
  std::optional<Activation> activation;
};
ConvolutionEnd convolution_end(const KernelRequest& request);

// The layouts that the kernels like: transposed weights.
std::optional<LayoutChoice> conv2d_layouts_cuda(const KernelRequest& request);

}  // namespace lockstep
