#include "ops/losses/element_loss.h"

#include "ops/attributes.h"
#include "ops/losses/shapes.h"

namespace lockstep {
namespace {

// Operations an element, counting a transcendental function as ten.
double flops_per_element(ElementLossKind kind) {
  return kind == ElementLossKind::kBinaryCrossEntropy ? 25 : 3;
}

}  // namespace

std::string_view ElementLossOp::name() const {
  switch (kind_) {
    case ElementLossKind::kSquared:
      return "mean_squared_error";
    case ElementLossKind::kAbsolute:
      return "mean_absolute_error";
    case ElementLossKind::kBinaryCrossEntropy:
      return "binary_cross_entropy";
  }
  broken_invariant("element loss of an unknown kind");
}

std::string ElementLossOp::attributes() const {
  const std::string scale = "scale=" + exact(scale_);
  return label_smoothing_ == 0 ? scale : scale + " label_smoothing=" + exact(label_smoothing_);
}

std::vector<TensorType> ElementLossOp::infer(std::span<const TensorType> inputs) const {
  check_loss_inputs(inputs);
  const TensorType &prediction = inputs[0], &target = inputs[1];
  check_input(target.dtype == DType::kF32, "target is ", target.to_string(), ", expected f32");
  check_input(equal_but_trailing_ones(prediction.shape, target.shape), "prediction ",
              prediction.shape, " and target ", target.shape, " differ, expected equal shapes");
  check_input(prediction.shape.elements(1, prediction.shape.rank()) > 0, "prediction ",
              prediction.shape, " has samples without elements");
  return {{DType::kF32, {}, nullptr}};
}

void ElementLossOp::gradient(Backward& backward) const {
  if (backward.cotangent(0) == kNoValue || !backward.wants(0)) return;
  std::vector<ValueId> inputs = backward.node().inputs;
  inputs.push_back(backward.cotangent(0));
  backward.accumulate(0, backward.graph().add(std::make_shared<ElementLossBackwardOp>(*this),
                                              std::move(inputs), backward.name()));
}

double ElementLossOp::flops(std::span<const TensorType> inputs, std::span<const TensorType>) const {
  return flops_per_element(kind_) * static_cast<double>(inputs[0].elements());
}

std::string_view ElementLossBackwardOp::name() const {
  switch (loss_.kind()) {
    case ElementLossKind::kSquared:
      return "mean_squared_error_backward";
    case ElementLossKind::kAbsolute:
      return "mean_absolute_error_backward";
    case ElementLossKind::kBinaryCrossEntropy:
      return "binary_cross_entropy_backward";
  }
  broken_invariant("element loss of an unknown kind");
}

std::vector<TensorType> ElementLossBackwardOp::infer(std::span<const TensorType> inputs) const {
  loss_.infer(check_loss_cotangent(inputs));
  return {{DType::kF32, inputs[0].shape, nullptr}};
}

double ElementLossBackwardOp::flops(std::span<const TensorType> inputs,
                                    std::span<const TensorType>) const {
  return flops_per_element(loss_.kind()) * static_cast<double>(inputs[0].elements());
}

ValueId element_loss(Graph& graph, const ElementLossOp& loss, ValueId prediction, ValueId target,
                     ValueId weights, const std::string& name) {
  std::vector<ValueId> inputs{prediction, target};
  if (weights != kNoValue) inputs.push_back(weights);
  return graph.add(std::make_shared<ElementLossOp>(loss), std::move(inputs), name);
}

}  // namespace lockstep
