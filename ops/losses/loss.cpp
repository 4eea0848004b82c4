#include "ops/losses/loss.h"

#include <algorithm>

#include "core/base/error.h"
#include "core/builtin/builtin.h"
#include "ops/losses/cross_entropy_with_gradient.h"
#include "ops/losses/element_loss.h"
#include "ops/losses/softmax_cross_entropy.h"

namespace lockstep {
namespace {

bool is_cross_entropy(const std::string& kind) {
  return kind == "binary_cross_entropy" || kind == "softmax_cross_entropy";
}

ElementLossKind element_kind(const std::string& kind) {
  if (kind == "mean_squared_error") return ElementLossKind::kSquared;
  if (kind == "mean_absolute_error") return ElementLossKind::kAbsolute;
  return ElementLossKind::kBinaryCrossEntropy;
}

}  // namespace

std::vector<std::string> Loss::kinds() {
  return {"mean_squared_error", "mean_absolute_error", "binary_cross_entropy",
          "softmax_cross_entropy"};
}

std::unique_ptr<Loss> Loss::make(Settings& train) {
  LossOptions options;
  if (!train.has("loss")) train.word("loss");  // the error for a missing key
  options.kind = train.choice("loss", kinds(), "");
  if (is_cross_entropy(options.kind)) {
    options.label_smoothing = train.real("label_smoothing", 0.0);
    if (options.label_smoothing < 0 || options.label_smoothing >= 1) {
      train.refuse("label_smoothing",
                   text("expected a number in [0, 1), found ", options.label_smoothing));
    }
  }
  return make(options);
}

std::unique_ptr<Loss> Loss::make(const LossOptions& options) {
  const std::vector<std::string> valid = kinds();
  if (std::ranges::find(valid, options.kind) == valid.end()) {
    const std::string nearest = nearest_name(options.kind, valid);
    bad_input("loss \"", options.kind, "\" is not known",
              nearest.empty() ? "" : "; did you mean \"" + nearest + "\"?");
  }
  check_input(options.label_smoothing >= 0 && options.label_smoothing < 1,
              "loss: label_smoothing is ", options.label_smoothing,
              ", expected a number in [0, 1)");
  check_input(options.label_smoothing == 0 || is_cross_entropy(options.kind), "loss ", options.kind,
              " takes no label_smoothing");
  return std::unique_ptr<Loss>(new Loss(options));
}

bool Loss::classification() const {
  return is_cross_entropy(kind());
}

DType Loss::target_type() const {
  return kind() == "softmax_cross_entropy" ? DType::kI32 : DType::kF32;
}

bool Loss::takes_target(DType dtype) const {
  return dtype == DType::kI32 || dtype == DType::kF32;
}

ValueId Loss::build(Graph& graph, ValueId prediction, ValueId target, ValueId weights,
                    double scale) const {
  if (kind() == "softmax_cross_entropy") {
    const SoftmaxCrossEntropyOp op(scale, options_.label_smoothing);
    return softmax_cross_entropy(graph, op, prediction, target, weights, "loss");
  }
  if (graph.type(target).dtype == DType::kI32) target = cast(graph, target, DType::kF32);
  const ElementLossOp op(element_kind(kind()), scale, options_.label_smoothing);
  return element_loss(graph, op, prediction, target, weights, "loss");
}

void register_losses_cpu(KernelRegistry& registry) {
  register_element_loss_cpu(registry);
  register_softmax_cross_entropy_cpu(registry);
  register_cross_entropy_with_gradient_cpu(registry);
}

}  // namespace lockstep
