// Two-dimensional convolution of images (cross-correlation, as everywhere in deep learning):
//
//   y (n, oh, ow, out) = f(x (n, h, w, in) * k (kh, kw, in / groups, out) + b (out))
//
// Words and layouts are those of Keras' Conv2D; explicit padding is that of PyTorch. x and the
// weight are f32 or both bf16 (then y is, too); the bias is f32. Sums are taken in f32; bias and
// activation are applied before y is rounded. Gradients of weight and bias are f32 in both cases. (On
// GPUs cuDNN takes the bias of bf16 data rounded to bf16, and gives the gradient of the weight so.)
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/graph/graph.h"
#include "core/kernel/kernel.h"
#include "core/passes/fuse.h"
#include "ops/activation/activation.h"
#include "ops/window/window.h"

namespace lockstep {

class OnnxRegistry;

// What the three ops share. The size of the window is that of the weight and not kept here.
struct Convolution {
  Window2d window;
  std::int64_t groups = 1;
  // Winograd's method (Lavin & Gray, CVPR 2016) where oneDNN has it and finds it faster: f32, 3x3,
  // stride 1, at least 16 channels, from about 16 images on. Its error is three to six times that
  // of the direct method (root mean square 5e-7 to 9e-7 of the values, instead of 1.6e-7).
  bool winograd = false;

  std::string to_string() const;
};

// Inputs x, weight and optionally b.
class Conv2dOp final : public Op {
 public:
  explicit Conv2dOp(const Convolution& convolution,
                    std::optional<Activation> activation = std::nullopt);
  std::string_view name() const override { return "conv2d"; }
  std::string attributes() const override;
  std::vector<TensorType> infer(std::span<const TensorType> inputs) const override;
  Traits traits() const override { return {.precision = Precision::kLow, .may_be_low = 2}; }
  // An activation whose gradient is not a function of y (gelu) has none here: broken_invariant.
  void gradient(Backward& backward) const override;
  double flops(std::span<const TensorType> inputs,
               std::span<const TensorType> outputs) const override;
  const Convolution& convolution() const { return convolution_; }
  const std::optional<Activation>& activation() const { return activation_; }

 private:
  Convolution convolution_;
  std::optional<Activation> activation_;
};

// dx from inputs dy and weight.
class Conv2dBackwardDataOp final : public Op {
 public:
  // `height` and `width` are those of dx: strides leave several possible.
  Conv2dBackwardDataOp(const Convolution& convolution, std::int64_t height, std::int64_t width)
      : convolution_(convolution), height_(height), width_(width) {}
  std::string_view name() const override { return "conv2d_backward_data"; }
  std::string attributes() const override;
  std::vector<TensorType> infer(std::span<const TensorType> inputs) const override;
  Traits traits() const override { return {.precision = Precision::kLow}; }
  double flops(std::span<const TensorType> inputs,
               std::span<const TensorType> outputs) const override;
  const Convolution& convolution() const { return convolution_; }

 private:
  Convolution convolution_;
  std::int64_t height_, width_;
};

// dw f32, and db f32 where asked for, from inputs x and dy.
class Conv2dBackwardWeightsOp final : public Op {
 public:
  Conv2dBackwardWeightsOp(const Convolution& convolution,
                          const std::array<std::int64_t, 2>& kernel_size, bool with_bias)
      : convolution_(convolution), kernel_size_(kernel_size), with_bias_(with_bias) {}
  std::string_view name() const override { return "conv2d_backward_weights"; }
  std::string attributes() const override;
  std::vector<TensorType> infer(std::span<const TensorType> inputs) const override;
  Traits traits() const override { return {.precision = Precision::kLow}; }
  double flops(std::span<const TensorType> inputs,
               std::span<const TensorType> outputs) const override;
  const Convolution& convolution() const { return convolution_; }
  const std::array<std::int64_t, 2>& kernel_size() const { return kernel_size_; }
  bool with_bias() const { return with_bias_; }

 private:
  Convolution convolution_;
  std::array<std::int64_t, 2> kernel_size_;
  bool with_bias_;
};

ValueId conv2d(Graph& graph, ValueId x, ValueId weight, const Convolution& convolution,
               const std::string& name = "");

void register_conv2d_cpu(KernelRegistry& registry);
void register_conv2d_cuda(KernelRegistry& registry);
void register_conv2d_onnx(OnnxRegistry& registry);

// conv2d+bias, conv2d+activation, conv2d_backward_weights+bias_backward.
std::vector<FusionPattern> conv2d_fusions();

}  // namespace lockstep
