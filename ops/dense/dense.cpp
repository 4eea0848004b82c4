#include "ops/dense/dense.h"

#include <algorithm>

#include "core/base/error.h"
#include "ops/bias/bias.h"
#include "ops/forward_fusion.h"

namespace lockstep {
namespace {

void check_count(std::span<const TensorType> inputs, std::size_t least, std::size_t most) {
  check_input(inputs.size() >= least && inputs.size() <= most, "takes ", least,
              least == most ? text("") : text(" or ", most), " inputs, got ", inputs.size());
}

void check_data(const char* what, const TensorType& type) {
  check_input(type.dtype == DType::kF32 || type.dtype == DType::kBF16, what, " is ",
              type.to_string(), ", expected f32 or bf16");
  check_input(type.shape.rank() >= 1, what, " is ", type.to_string(),
              ", expected one axis at least");
}

void check_weight(const TensorType& weight, const TensorType& data, const char* data_name) {
  check_input(weight.shape.rank() == 2, "weight is ", weight.to_string(), ", expected (in, out)");
  check_input(weight.dtype == data.dtype, "weight is ", weight.to_string(), ", ", data_name, " is ",
              data.to_string(), ", expected one element type");
}

// Multiply-adds of a product with that weight and that many rows, twice.
double product_flops(const TensorType& data, double weight_elements) {
  return 2.0 * static_cast<double>(data.shape.elements(0, data.shape.rank() - 1)) * weight_elements;
}

}  // namespace

// ---- dense -------------------------------------------------------------------------------------

std::string DenseOp::attributes() const {
  if (!activation_) return {};
  const std::string detail = activation_->attributes();
  return text("activation=", activation_->name(), detail.empty() ? "" : " ", detail);
}

std::vector<TensorType> DenseOp::infer(std::span<const TensorType> inputs) const {
  check_count(inputs, 2, 3);
  const TensorType &x = inputs[0], &w = inputs[1];
  check_data("input", x);
  check_weight(w, x, "input");
  check_input(w.shape[0] == x.shape[-1], "weight ", w.shape, " needs ", w.shape[0],
              " input features, input ", x.shape, " has ", x.shape[-1]);
  if (inputs.size() == 3) {
    const TensorType& b = inputs[2];
    check_input((b.dtype == DType::kF32 || b.dtype == x.dtype) && b.shape == Shape{w.shape[1]},
                "bias is ", b.to_string(), ", expected f32", Shape{w.shape[1]});
  }
  return {{x.dtype, x.shape.with(-1, w.shape[1]), nullptr}};
}

void DenseOp::gradient(Backward& backward) const {
  ValueId dy = backward.cotangent(0);
  if (dy == kNoValue) return;
  Graph& graph = backward.graph();
  if (activation_) {
    require(activation_->gradient_from_output(), backward.node().name, ": the gradient of ",
            activation_->name(), " needs what the fusion dropped");
    dy = graph.add(std::make_shared<ActivationBackwardOp>(*activation_), {dy, backward.output(0)},
                   backward.name());
  }
  if (backward.node().inputs.size() == 3 && backward.wants(2)) {
    backward.accumulate(2, bias_backward(graph, dy, backward.name()));
  }
  if (backward.wants(1)) {
    backward.accumulate(1, graph.add(std::make_shared<DenseBackwardWeightsOp>(),
                                     {backward.input(0), dy}, backward.name()));
  }
  if (backward.wants(0)) {
    backward.accumulate(0, graph.add(std::make_shared<DenseBackwardDataOp>(),
                                     {dy, backward.input(1)}, backward.name()));
  }
}

double DenseOp::flops(std::span<const TensorType> inputs, std::span<const TensorType>) const {
  return product_flops(inputs[0], static_cast<double>(inputs[1].elements()));
}

// ---- Gradients ---------------------------------------------------------------------------------

std::vector<TensorType> DenseBackwardDataOp::infer(std::span<const TensorType> inputs) const {
  check_count(inputs, 2, 2);
  const TensorType &dy = inputs[0], &w = inputs[1];
  check_data("gradient", dy);
  check_weight(w, dy, "gradient");
  check_input(w.shape[1] == dy.shape[-1], "weight ", w.shape, " needs ", w.shape[1],
              " output features, gradient ", dy.shape, " has ", dy.shape[-1]);
  return {{dy.dtype, dy.shape.with(-1, w.shape[0]), nullptr}};
}

double DenseBackwardDataOp::flops(std::span<const TensorType> inputs,
                                  std::span<const TensorType>) const {
  return product_flops(inputs[0], static_cast<double>(inputs[1].elements()));
}

std::vector<TensorType> DenseBackwardWeightsOp::infer(std::span<const TensorType> inputs) const {
  check_count(inputs, 2, 2);
  const TensorType &x = inputs[0], &dy = inputs[1];
  check_data("input", x);
  check_data("gradient", dy);
  check_input(x.dtype == dy.dtype && x.shape.rank() == dy.shape.rank() &&
                  x.shape.with(-1, 1) == dy.shape.with(-1, 1),
              "input is ", x.to_string(), ", gradient is ", dy.to_string(),
              ", expected types that differ in the last extent only");
  std::vector<TensorType> out{{DType::kF32, {x.shape[-1], dy.shape[-1]}, nullptr}};
  if (bias_) out.push_back({DType::kF32, {dy.shape[-1]}, nullptr});
  return out;
}

double DenseBackwardWeightsOp::flops(std::span<const TensorType> inputs,
                                     std::span<const TensorType> outputs) const {
  return product_flops(inputs[0], static_cast<double>(outputs[0].elements()));
}

// ---- Builders ----------------------------------------------------------------------------------

ValueId dense(Graph& graph, ValueId x, ValueId w, const std::string& name) {
  return graph.add(std::make_shared<DenseOp>(), {x, w}, name);
}

ValueId dense(Graph& graph, ValueId x, ValueId w, ValueId b, std::optional<Activation> activation,
              const std::string& name) {
  return graph.add(std::make_shared<DenseOp>(activation), {x, w, b}, name);
}

// ---- Fusion ------------------------------------------------------------------------------------

std::vector<FusionPattern> dense_fusions() {
  return forward_fusions<DenseOp>("dense",
                                  [](const DenseOp&, std::optional<Activation> activation) {
                                    return std::make_shared<DenseOp>(activation);
                                  });
}

std::vector<FusionPattern> dense_gradient_fusions() {
  // The root is the gradient of the weights; that of the bias, from the same dy, comes before it.
  auto match = [](const FusionSite& site) -> std::optional<Fusion> {
    const Node& root = site.node();
    const auto* op = dynamic_cast<const DenseBackwardWeightsOp*>(root.op.get());
    if (op == nullptr || op->bias()) return {};
    for (const NodeId reader : site.readers[root.inputs[1]]) {
      const Node& node = site.graph.node(reader);
      if (reader >= site.root || site.taken[reader]) continue;
      if (dynamic_cast<const BiasBackwardOp*>(node.op.get()) == nullptr) continue;
      const ValueId db = node.outputs[0];
      const bool early = std::ranges::any_of(site.readers[db], [&](NodeId of_db) { return of_db < site.root; });
      if (early) continue;
      return Fusion{std::make_shared<DenseBackwardWeightsOp>(true), root.inputs, {root.outputs[0], db}, {reader}};
    }
    return {};
  };
  return {{"dense_backward_weights+bias_backward", match}};
}

}  // namespace lockstep
