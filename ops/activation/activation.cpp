#include "ops/activation/activation.h"

#include "core/base/error.h"
#include "ops/attributes.h"

namespace lockstep {
namespace {

TensorType row_major(const TensorType& type) {
  return {type.dtype, type.shape, nullptr};
}

void check_floating(const TensorType& type) {
  check_input(type.dtype == DType::kF32 || type.dtype == DType::kBF16, "input is ",
              type.to_string(), ", expected f32 or bf16");
}

// Operations an element, for the counts in a plan: polynomials of about ten terms.
double operations(const Activation& activation) {
  switch (activation.kind) {
    case ActivationKind::kRelu:
      return 1;
    case ActivationKind::kLeakyRelu:
      return 2;
    case ActivationKind::kSigmoid:
      return 20;
    case ActivationKind::kTanh:
      return 20;
    case ActivationKind::kGelu:
      return 40;
    case ActivationKind::kGeluApproximate:
      return 26;
  }
  return 1;
}

}  // namespace

// ---- Activation --------------------------------------------------------------------------------

std::string_view Activation::name() const {
  switch (kind) {
    case ActivationKind::kRelu:
      return "relu";
    case ActivationKind::kLeakyRelu:
      return "leaky_relu";
    case ActivationKind::kSigmoid:
      return "sigmoid";
    case ActivationKind::kTanh:
      return "tanh";
    case ActivationKind::kGelu:
    case ActivationKind::kGeluApproximate:
      return "gelu";
  }
  broken_invariant("an activation of no known kind");
}

std::string Activation::attributes() const {
  if (kind == ActivationKind::kLeakyRelu) return "negative_slope=" + exact(negative_slope);
  if (kind == ActivationKind::kGeluApproximate) return "approximate=true";
  return {};
}

bool Activation::gradient_from_output() const {
  return kind != ActivationKind::kGelu && kind != ActivationKind::kGeluApproximate;
}

// ---- Forward -----------------------------------------------------------------------------------

ActivationOp::ActivationOp(Activation activation) : activation_(activation) {
  check_input(activation_.negative_slope >= 0, activation_.name(), ": negative_slope is ",
              activation_.negative_slope, ", expected 0 or more");
}

std::vector<TensorType> ActivationOp::infer(std::span<const TensorType> inputs) const {
  check_input(inputs.size() == 1, "takes 1 input, got ", inputs.size());
  check_floating(inputs[0]);
  return {row_major(inputs[0])};
}

Traits ActivationOp::traits() const {
  return {.elementwise = true,
          .keeps_zero = activation_.keeps_zero(),
          .may_overwrite = 0,
          .precision = Precision::kFollow};
}

void ActivationOp::gradient(Backward& backward) const {
  if (!backward.wants(0) || backward.cotangent(0) == kNoValue) return;
  const ValueId saved = activation_.gradient_from_output() ? backward.output(0) : backward.input(0);
  backward.accumulate(0, backward.graph().add(std::make_shared<ActivationBackwardOp>(activation_),
                                              {backward.cotangent(0), saved}, backward.name()));
}

double ActivationOp::flops(std::span<const TensorType>, std::span<const TensorType> outputs) const {
  return operations(activation_) * static_cast<double>(outputs[0].elements());
}

// ---- Backward ----------------------------------------------------------------------------------

ActivationBackwardOp::ActivationBackwardOp(Activation activation)
    : activation_(activation), name_(text(activation.name(), "_backward")) {}

std::vector<TensorType> ActivationBackwardOp::infer(std::span<const TensorType> inputs) const {
  check_input(inputs.size() == 2, "takes 2 inputs, got ", inputs.size());
  check_floating(inputs[0]);
  check_input(inputs[0].dtype == inputs[1].dtype && inputs[0].shape == inputs[1].shape,
              "gradient is ", inputs[0].to_string(), ", expected that of ", inputs[1].to_string());
  return {row_major(inputs[0])};
}

Traits ActivationBackwardOp::traits() const {
  return {
      .elementwise = true, .keeps_zero = true, .may_overwrite = 0, .precision = Precision::kFollow};
}

double ActivationBackwardOp::flops(std::span<const TensorType>,
                                   std::span<const TensorType> outputs) const {
  const double from_input = activation_.gradient_from_output() ? 3 : operations(activation_) + 20;
  return from_input * static_cast<double>(outputs[0].elements());
}

// ---- Builders ----------------------------------------------------------------------------------

ValueId activation(Graph& graph, ValueId x, const Activation& activation, const std::string& name) {
  return graph.add(std::make_shared<ActivationOp>(activation), {x}, name);
}

ValueId relu(Graph& graph, ValueId x, const std::string& name) {
  return activation(graph, x, {ActivationKind::kRelu}, name);
}

ValueId leaky_relu(Graph& graph, ValueId x, double negative_slope, const std::string& name) {
  return activation(graph, x, {ActivationKind::kLeakyRelu, negative_slope}, name);
}

ValueId sigmoid(Graph& graph, ValueId x, const std::string& name) {
  return activation(graph, x, {ActivationKind::kSigmoid}, name);
}

ValueId tanh(Graph& graph, ValueId x, const std::string& name) {
  return activation(graph, x, {ActivationKind::kTanh}, name);
}

ValueId gelu(Graph& graph, ValueId x, bool approximate, const std::string& name) {
  const auto kind = approximate ? ActivationKind::kGeluApproximate : ActivationKind::kGelu;
  return activation(graph, x, {kind}, name);
}

}  // namespace lockstep
