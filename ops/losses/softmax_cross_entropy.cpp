#include "ops/losses/softmax_cross_entropy.h"

#include "ops/attributes.h"
#include "ops/losses/shapes.h"

namespace lockstep {
namespace {

// A subtraction, an exponential (counted as ten) and two sums an element.
constexpr double kFlopsPerElement = 13;

}  // namespace

std::string SoftmaxCrossEntropyOp::attributes() const {
  const std::string scale = "scale=" + exact(scale_);
  return label_smoothing_ == 0 ? scale : scale + " label_smoothing=" + exact(label_smoothing_);
}

std::vector<TensorType> SoftmaxCrossEntropyOp::infer(std::span<const TensorType> inputs) const {
  check_loss_inputs(inputs);
  const Shape& logits = inputs[0].shape;
  check_input(logits.rank() >= 2, "prediction ", logits,
              " has no classes, expected (batch, classes)");
  check_input(logits[-1] >= 2, "prediction ", logits, " has ", logits[-1],
              " classes at its end, expected 2 at least (for yes or no use binary_cross_entropy)");
  check_input(logits.elements(1, logits.rank()) > 0, "prediction ", logits,
              " has samples without positions");
  const Shape positions = logits.slice(0, logits.rank() - 1);
  if (inputs[1].dtype == DType::kF32 && inputs[1].shape == logits) return {{DType::kF32, {}, nullptr}};
  check_input(inputs[1].dtype == DType::kI32, "target is ", inputs[1].to_string(),
              ", expected class numbers i32", positions, " or a share of each class f32", logits);
  check_input(equal_but_trailing_ones(inputs[1].shape, positions), "target ", inputs[1].shape,
              " does not fit prediction ", logits, ", expected class numbers ", positions);
  return {{DType::kF32, {}, nullptr}};
}

void SoftmaxCrossEntropyOp::gradient(Backward& backward) const {
  if (backward.cotangent(0) == kNoValue || !backward.wants(0)) return;
  std::vector<ValueId> inputs = backward.node().inputs;
  inputs.push_back(backward.cotangent(0));
  backward.accumulate(0,
                      backward.graph().add(std::make_shared<SoftmaxCrossEntropyBackwardOp>(*this),
                                           std::move(inputs), backward.name()));
}

double SoftmaxCrossEntropyOp::flops(std::span<const TensorType> inputs,
                                    std::span<const TensorType>) const {
  return kFlopsPerElement * static_cast<double>(inputs[0].elements());
}

std::vector<TensorType> SoftmaxCrossEntropyBackwardOp::infer(
    std::span<const TensorType> inputs) const {
  loss_.infer(check_loss_cotangent(inputs));
  return {{DType::kF32, inputs[0].shape, nullptr}};
}

double SoftmaxCrossEntropyBackwardOp::flops(std::span<const TensorType> inputs,
                                            std::span<const TensorType>) const {
  return (kFlopsPerElement + 2) * static_cast<double>(inputs[0].elements());
}

ValueId softmax_cross_entropy(Graph& graph, const SoftmaxCrossEntropyOp& loss, ValueId logits,
                              ValueId labels, ValueId weights, const std::string& name) {
  std::vector<ValueId> inputs{logits, labels};
  if (weights != kNoValue) inputs.push_back(weights);
  return graph.add(std::make_shared<SoftmaxCrossEntropyOp>(loss), std::move(inputs), name);
}

}  // namespace lockstep
