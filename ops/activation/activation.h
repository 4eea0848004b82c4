// Activation functions, elementwise: y = f(x).
//
//   relu        max(x, 0)
//   leaky_relu  x where x > 0, else negative_slope * x. The default 0.3 is that of Keras; PyTorch's
//               is 0.01
//   sigmoid     1 / (1 + exp(-x))
//   tanh        tanh(x)
//   gelu        x Phi(x), Phi the standard normal distribution function; with approximate
//               x sigmoid(2 sqrt(2 / pi) (x + 0.044715 x^3)). Exact is the default of Keras and
//               PyTorch. Hendrycks & Gimpel, arXiv:1606.08415
//
// NaN gives NaN. f32 or bf16; the arithmetic is f32.
//
// The gradients of relu, leaky_relu, sigmoid and tanh need the result y only, so the forward op can
// be fused into the op that makes x; that of gelu needs x.
#pragma once

#include <string>

#include "core/graph/graph.h"
#include "core/kernel/kernel.h"

namespace lockstep {

class OnnxRegistry;

enum class ActivationKind { kRelu, kLeakyRelu, kSigmoid, kTanh, kGelu, kGeluApproximate };

struct Activation {
  ActivationKind kind = ActivationKind::kRelu;
  double negative_slope = 0.3;  // of leaky_relu; >= 0

  // "relu": the name of the op; both gelus are "gelu".
  std::string_view name() const;
  // "negative_slope=0.3", "approximate=true", or empty.
  std::string attributes() const;
  // f(0) = 0.
  bool keeps_zero() const { return kind != ActivationKind::kSigmoid; }
  // The gradient is a function of y; else of x.
  bool gradient_from_output() const;
};

class ActivationOp final : public Op {
 public:
  explicit ActivationOp(Activation activation);
  std::string_view name() const override { return activation_.name(); }
  std::string attributes() const override { return activation_.attributes(); }
  std::vector<TensorType> infer(std::span<const TensorType> inputs) const override;
  Traits traits() const override;
  void gradient(Backward& backward) const override;
  double flops(std::span<const TensorType> inputs,
               std::span<const TensorType> outputs) const override;
  const Activation& activation() const { return activation_; }

 private:
  Activation activation_;
};

// dx from inputs dy and y (x where gradient_from_output() is false). Named "relu_backward", ...
class ActivationBackwardOp final : public Op {
 public:
  explicit ActivationBackwardOp(Activation activation);
  std::string_view name() const override { return name_; }
  std::string attributes() const override { return activation_.attributes(); }
  std::vector<TensorType> infer(std::span<const TensorType> inputs) const override;
  Traits traits() const override;
  double flops(std::span<const TensorType> inputs,
               std::span<const TensorType> outputs) const override;
  const Activation& activation() const { return activation_; }

 private:
  Activation activation_;
  std::string name_;
};

ValueId activation(Graph& graph, ValueId x, const Activation& activation,
                   const std::string& name = "");
ValueId relu(Graph& graph, ValueId x, const std::string& name = "");
// REQUIRES: negative_slope >= 0 (bad_input otherwise).
ValueId leaky_relu(Graph& graph, ValueId x, double negative_slope = 0.3,
                   const std::string& name = "");
ValueId sigmoid(Graph& graph, ValueId x, const std::string& name = "");
ValueId tanh(Graph& graph, ValueId x, const std::string& name = "");
ValueId gelu(Graph& graph, ValueId x, bool approximate = false, const std::string& name = "");

void register_activation_cpu(KernelRegistry& registry);
void register_activation_cuda(KernelRegistry& registry);
void register_activation_onnx(OnnxRegistry& registry);

}  // namespace lockstep
