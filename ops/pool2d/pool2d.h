// Pooling of images (n, h, w, c) over a moving window: the maximum, or the mean of the elements
// that lie inside the image (padding does not count, as Keras and as PyTorch with
// count_include_pad=False). Data is f32 or bf16.
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

// Output 0: y (n, oh, ow, c). Output 1: u8 of the same shape, the position in the window
// (row-major) of the first maximum, for the gradient. A NaN counts as the maximum, as in PyTorch.
// Windows have at most 256 elements.
class MaxPool2dOp final : public Op {
 public:
  explicit MaxPool2dOp(const Window2d& window) : window_(window) {}
  std::string_view name() const override { return "max_pool2d"; }
  std::string attributes() const override { return window_.to_string(true); }
  std::vector<TensorType> infer(std::span<const TensorType> inputs) const override;
  Traits traits() const override { return {.precision = Precision::kAsIs}; }
  void gradient(Backward& backward) const override;
  const Window2d& window() const { return window_; }

 private:
  Window2d window_;
};

// dx (n, height, width, c) from inputs dy and the positions; or, where x = f(z) with an activation
// f whose gradient is a function of its result, dz from dy, the positions and y: the maximum knows
// all that the gradient of f needs.
class MaxPool2dBackwardOp final : public Op {
 public:
  MaxPool2dBackwardOp(const Window2d& window, std::int64_t height, std::int64_t width,
                      std::optional<Activation> activation = std::nullopt)
      : window_(window), height_(height), width_(width), activation_(activation) {}
  std::string_view name() const override { return "max_pool2d_backward"; }
  std::string attributes() const override;
  std::vector<TensorType> infer(std::span<const TensorType> inputs) const override;
  Traits traits() const override { return {.precision = Precision::kAsIs}; }
  const Window2d& window() const { return window_; }
  const std::optional<Activation>& activation() const { return activation_; }
  // The same with the gradient of an activation.
  std::shared_ptr<const Op> with_activation(const Activation& activation) const;

 private:
  Window2d window_;
  std::int64_t height_, width_;
  std::optional<Activation> activation_;
};

class AveragePool2dOp final : public Op {
 public:
  explicit AveragePool2dOp(const Window2d& window) : window_(window) {}
  std::string_view name() const override { return "average_pool2d"; }
  std::string attributes() const override { return window_.to_string(true); }
  std::vector<TensorType> infer(std::span<const TensorType> inputs) const override;
  Traits traits() const override { return {.precision = Precision::kAsIs}; }
  void gradient(Backward& backward) const override;
  const Window2d& window() const { return window_; }

 private:
  Window2d window_;
};

// dx (n, height, width, c) from dy.
class AveragePool2dBackwardOp final : public Op {
 public:
  AveragePool2dBackwardOp(const Window2d& window, std::int64_t height, std::int64_t width)
      : window_(window), height_(height), width_(width) {}
  std::string_view name() const override { return "average_pool2d_backward"; }
  std::string attributes() const override;
  std::vector<TensorType> infer(std::span<const TensorType> inputs) const override;
  Traits traits() const override { return {.precision = Precision::kAsIs}; }
  const Window2d& window() const { return window_; }

 private:
  Window2d window_;
  std::int64_t height_, width_;
};

ValueId max_pool2d(Graph& graph, ValueId x, const Window2d& window, const std::string& name = "");
ValueId average_pool2d(Graph& graph, ValueId x, const Window2d& window,
                       const std::string& name = "");

void register_pool2d_cpu(KernelRegistry& registry);
void register_pool2d_cuda(KernelRegistry& registry);
void register_pool2d_onnx(OnnxRegistry& registry);

// max_pool2d_backward+activation_backward: one pass less over the large image, which then need not
// be kept for the backward pass.
std::vector<FusionPattern> pool2d_fusions();

}  // namespace lockstep
