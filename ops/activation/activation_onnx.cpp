// relu, leaky_relu, sigmoid, tanh and gelu as ONNX. Opset 17 has no gelu: it is spelled out.
#include "ops/activation/activation_onnx.h"

#include <cmath>
#include <numbers>

namespace lockstep {
namespace {

std::string number(OnnxNodeContext& to, double value) {
  return to.builder().constant(to.name() + "/number", {}, std::vector<float>{static_cast<float>(value)});
}

// x / 2 * (1 + erf(x / sqrt 2))
std::string gelu_onnx(OnnxNodeContext& to, const std::string& x) {
  const std::string scaled = to.add("Mul", {x, number(to, std::numbers::sqrt2 / 2)});
  const std::string sum = to.add("Add", {to.add("Erf", {scaled}), number(to, 1)});
  return to.add("Mul", {to.add("Mul", {x, number(to, 0.5)}), sum});
}

// x sigmoid(2 sqrt(2 / pi) (x + 0.044715 x^3))
std::string approximate_gelu_onnx(OnnxNodeContext& to, const std::string& x) {
  const std::string square = to.add("Mul", {x, x});
  const std::string inner = to.add("Add", {to.add("Mul", {square, number(to, 0.044715)}), number(to, 1)});
  const std::string outer = to.add("Mul", {x, number(to, 2 * std::sqrt(2 / std::numbers::pi))});
  return to.add("Mul", {x, to.add("Sigmoid", {to.add("Mul", {outer, inner})})});
}

}  // namespace

std::string activation_onnx(OnnxNodeContext& to, const std::optional<Activation>& activation, const std::string& x) {
  if (!activation) return x;
  switch (activation->kind) {
    case ActivationKind::kRelu:
      return to.add("Relu", {x});
    case ActivationKind::kLeakyRelu:
      return to.add("LeakyRelu", {x}, {{"alpha", static_cast<float>(activation->negative_slope)}});
    case ActivationKind::kSigmoid:
      return to.add("Sigmoid", {x});
    case ActivationKind::kTanh:
      return to.add("Tanh", {x});
    case ActivationKind::kGelu:
      return gelu_onnx(to, x);
    case ActivationKind::kGeluApproximate:
      return approximate_gelu_onnx(to, x);
  }
  broken_invariant("an activation of no known kind");
}

void register_activation_onnx(OnnxRegistry& registry) {
  for (const char* name : {"relu", "leaky_relu", "sigmoid", "tanh", "gelu"}) {
    registry.add(name, [](OnnxNodeContext& to) {
      const OnnxLayout layout = to.layout_of(0);
      to.output(0, activation_onnx(to, to.op_as<ActivationOp>().activation(), to.input(0, layout)), layout);
    });
  }
}

}  // namespace lockstep
