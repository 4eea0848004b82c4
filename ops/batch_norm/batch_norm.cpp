#include "ops/batch_norm/batch_norm.h"

#include "core/base/error.h"
#include "core/builtin/builtin.h"
#include "ops/activation/activation.h"
#include "ops/batch_norm/batch_norm_residual.h"
#include "ops/batch_norm/batch_norm_types.h"
#include "ops/binary/binary.h"
#include "ops/microbatch_sum/microbatch_sum.h"

namespace lockstep {

using namespace batch_norm_types;  // NOLINT: its file is written for this one and for batch_norm_residual.cpp

namespace {

// ---- Fusion ------------------------------------------------------------------------------------

// batch_norm (or batch_norm_inference) whose y is read by a relu only: the relu is the root. Mean
// and variance are computed where the relu was, so nobody may read them before.
template <typename NormOp>
std::optional<Fusion> fuse_relu(const FusionSite& site) {
  if (!is_relu(site.node())) return std::nullopt;
  const Node* norm = site.producer(site.node(), 0);
  if (norm == nullptr) return std::nullopt;
  const auto* op = dynamic_cast<const NormOp*>(norm->op.get());
  const ValueId y = site.node().inputs[0];
  if (op == nullptr || op->relu() || !site.only_read_by(y, site.root)) return std::nullopt;
  Fusion fusion{std::make_shared<NormOp>(op->epsilon(), true),
                norm->inputs,
                norm->outputs,
                {site.graph.value(y).producer}};
  fusion.outputs[0] = site.node().outputs[0];
  for (std::size_t i = 1; i < norm->outputs.size(); ++i) {
    for (const NodeId reader : site.readers[norm->outputs[i]]) {
      if (reader < site.root) return std::nullopt;
    }
  }
  return fusion;
}

// batch_norm_backward of a dy that relu_backward made, from the result of the fused forward op.
std::optional<Fusion> fuse_relu_backward(const FusionSite& site) {
  const auto* op = dynamic_cast<const BatchNormBackwardOp*>(site.node().op.get());
  if (op == nullptr || op->relu()) return std::nullopt;
  const std::vector<ValueId>& inputs = site.node().inputs;
  const Node* relu = site.producer(site.node(), 0);
  if (relu == nullptr || !site.only_read_by(inputs[0], site.root)) return std::nullopt;
  if (!is_relu_backward(*relu)) return std::nullopt;
  const Node* forward = site.producer(*relu, 1);
  if (forward == nullptr) return std::nullopt;
  const auto* forward_op = dynamic_cast<const BatchNormOp*>(forward->op.get());
  const bool same = forward_op != nullptr && forward_op->relu() &&
                    forward->outputs[0] == relu->inputs[1] && forward->outputs[1] == inputs[4] &&
                    forward->outputs[2] == inputs[5];
  if (!same) return std::nullopt;
  Fusion fusion{std::make_shared<BatchNormBackwardOp>(op->epsilon(), true),
                inputs,
                site.node().outputs,
                {site.graph.value(inputs[0]).producer}};
  fusion.inputs[0] = relu->inputs[0];
  return fusion;
}

}  // namespace

// ---- batch_norm --------------------------------------------------------------------------------

std::string BatchNormOp::attributes() const {
  return attributes_of(epsilon_, relu_);
}

std::vector<TensorType> BatchNormOp::infer(std::span<const TensorType> inputs) const {
  check_input(inputs.size() == 3, "takes input, scale and offset, got ", inputs.size(), " inputs");
  const TensorType& x = inputs[0];
  check_data(x);
  check_channels(inputs[1], x, "scale");
  check_channels(inputs[2], x, "offset");
  check_input(x.shape.elements(0, x.shape.rank() - 1) > 0, "input ", x.shape,
              " has no elements to take the mean of");
  const TensorType statistic{DType::kF32, {x.shape[-1]}, nullptr};
  return {row_major(x), statistic, statistic};
}

void BatchNormOp::gradient(Backward& backward) const {
  const Node& node = backward.node();
  Graph& graph = backward.graph();
  ValueId dy = backward.cotangent(0), dmean = backward.cotangent(1),
          dvariance = backward.cotangent(2);
  if (dy == kNoValue && dmean == kNoValue && dvariance == kNoValue) return;
  auto or_zero = [&](ValueId cotangent, int output) {
    return cotangent != kNoValue ? cotangent : fill(graph, graph.type(node.outputs[output]), 0.0);
  };
  std::vector<ValueId> inputs{or_zero(dy, 0), node.inputs[0],  node.inputs[1],
                              node.inputs[2], node.outputs[1], node.outputs[2]};
  if (dmean != kNoValue || dvariance != kNoValue) {
    inputs.push_back(or_zero(dmean, 1));
    inputs.push_back(or_zero(dvariance, 2));
  }
  const auto op = std::make_shared<BatchNormBackwardOp>(epsilon_, relu_);
  const std::vector<ValueId> gradients = graph.add_node(op, std::move(inputs), backward.name());
  for (int i = 0; i < 3; ++i) {
    if (backward.wants(i)) backward.accumulate(i, gradients[i]);
  }
}

double BatchNormOp::flops(std::span<const TensorType> inputs, std::span<const TensorType>) const {
  return 7 * elements(inputs[0]);
}

// ---- batch_norm_backward -----------------------------------------------------------------------

std::string BatchNormBackwardOp::attributes() const {
  return attributes_of(epsilon_, relu_);
}

std::vector<TensorType> BatchNormBackwardOp::infer(std::span<const TensorType> inputs) const {
  check_input(
      inputs.size() == 6 || inputs.size() == 8,
      "takes dy, input, scale, offset, mean, variance and perhaps the cotangents of the last "
      "two, got ",
      inputs.size(), " inputs");
  const TensorType& x = inputs[1];
  check_data(x);
  check_input(inputs[0].dtype == x.dtype && inputs[0].shape == x.shape, "dy is ",
              inputs[0].to_string(), ", the input ", x.to_string(), ", expected equal types");
  const char* names[] = {
      "scale", "offset", "mean", "variance", "cotangent of the mean", "cotangent of the variance"};
  for (std::size_t i = 2; i < inputs.size(); ++i) check_channels(inputs[i], x, names[i - 2]);
  return {row_major(x), inputs[2], inputs[2]};
}

double BatchNormBackwardOp::flops(std::span<const TensorType> inputs,
                                  std::span<const TensorType>) const {
  return 8 * elements(inputs[0]);
}

// ---- batch_norm_inference ----------------------------------------------------------------------

std::string BatchNormInferenceOp::attributes() const {
  return attributes_of(epsilon_, relu_);
}

std::vector<TensorType> BatchNormInferenceOp::infer(std::span<const TensorType> inputs) const {
  check_input(inputs.size() == 5, "takes input, scale, offset, mean and variance, got ",
              inputs.size(), " inputs");
  check_data(inputs[0]);
  const char* names[] = {"scale", "offset", "mean", "variance"};
  for (int i = 1; i < 5; ++i) check_channels(inputs[i], inputs[0], names[i - 1]);
  return {row_major(inputs[0])};
}

double BatchNormInferenceOp::flops(std::span<const TensorType> inputs,
                                   std::span<const TensorType>) const {
  return 3 * elements(inputs[0]);
}

void BatchNormInferenceOp::gradient(Backward& backward) const {
  const Node& node = backward.node();
  const ValueId dy = backward.cotangent(0);
  if (dy == kNoValue) return;
  std::vector<ValueId> inputs{dy};
  inputs.insert(inputs.end(), node.inputs.begin(), node.inputs.end());
  const auto op = std::make_shared<BatchNormInferenceBackwardOp>(epsilon_, relu_);
  const std::vector<ValueId> gradients = backward.graph().add_node(op, std::move(inputs), backward.name());
  for (int i = 0; i < 5; ++i) {
    if (backward.wants(i)) backward.accumulate(i, gradients[i]);
  }
}

// ---- batch_norm_inference_backward -------------------------------------------------------------

std::string BatchNormInferenceBackwardOp::attributes() const {
  return attributes_of(epsilon_, relu_);
}

std::vector<TensorType> BatchNormInferenceBackwardOp::infer(std::span<const TensorType> inputs) const {
  check_input(inputs.size() == 6, "takes dy, input, scale, offset, mean and variance, got ", inputs.size(),
              " inputs");
  const TensorType& x = inputs[1];
  check_data(x);
  check_input(inputs[0].dtype == x.dtype && inputs[0].shape == x.shape, "dy is ", inputs[0].to_string(),
              ", the input ", x.to_string(), ", expected equal types");
  const char* names[] = {"scale", "offset", "mean", "variance"};
  for (int i = 2; i < 6; ++i) check_channels(inputs[i], x, names[i - 2]);
  return {row_major(x), inputs[2], inputs[2], inputs[2], inputs[2]};
}

double BatchNormInferenceBackwardOp::flops(std::span<const TensorType> inputs,
                                           std::span<const TensorType>) const {
  return 6 * elements(inputs[0]);
}

// ---- batch_moments -----------------------------------------------------------------------------

std::vector<TensorType> BatchMomentsOp::infer(std::span<const TensorType> inputs) const {
  check_input(inputs.size() == 1, "takes one input, got ", inputs.size());
  const TensorType& x = inputs[0];
  check_data(x);
  check_input(x.shape.elements(0, x.shape.rank() - 1) > 0, "input ", x.shape,
              " has no elements to take the mean of");
  const TensorType statistic{DType::kF32, {x.shape[-1]}, nullptr};
  return {statistic, statistic};
}

void BatchMomentsOp::gradient(Backward& backward) const {
  const Node& node = backward.node();
  Graph& graph = backward.graph();
  const ValueId dmean = backward.cotangent(0), dvariance = backward.cotangent(1);
  if ((dmean == kNoValue && dvariance == kNoValue) || !backward.wants(0)) return;
  const auto or_zero = [&](ValueId cotangent) {
    return cotangent != kNoValue ? cotangent : fill(graph, graph.type(node.outputs[0]), 0.0);
  };
  backward.accumulate(0, graph.add(std::make_shared<BatchMomentsBackwardOp>(),
                                   {node.inputs[0], node.outputs[0], or_zero(dmean), or_zero(dvariance)},
                                   backward.name()));
}

double BatchMomentsOp::flops(std::span<const TensorType> inputs, std::span<const TensorType>) const {
  return 4 * elements(inputs[0]);
}

std::vector<TensorType> BatchMomentsBackwardOp::infer(std::span<const TensorType> inputs) const {
  check_input(inputs.size() == 4, "takes input, mean and the cotangents of mean and variance, got ",
              inputs.size(), " inputs");
  check_data(inputs[0]);
  const char* names[] = {"mean", "cotangent of the mean", "cotangent of the variance"};
  for (int i = 1; i < 4; ++i) check_channels(inputs[i], inputs[0], names[i - 1]);
  return {row_major(inputs[0])};
}

double BatchMomentsBackwardOp::flops(std::span<const TensorType> inputs,
                                     std::span<const TensorType>) const {
  return 3 * elements(inputs[0]);
}

// ---- Builders and patterns ---------------------------------------------------------------------

BatchNormResult batch_norm(Graph& graph, ValueId x, ValueId scale, ValueId offset, double epsilon,
                           const std::string& name) {
  const auto& outputs =
      graph.add_node(std::make_shared<BatchNormOp>(epsilon), {x, scale, offset}, name);
  return {outputs[0], outputs[1], outputs[2]};
}

// With n elements of a channel in this microbatch and N in the batch, m and v its moments here, as
// Chan, Golub and LeVeque combine them: mean = sum n m / N, variance = sum n (v + (m - mean)^2) / N.
BatchNormResult synchronized_batch_norm(Graph& graph, ValueId x, ValueId scale_, ValueId offset,
                                        double epsilon, const std::string& name) {
  const Shape& shape = graph.type(x).shape;
  const auto count = static_cast<double>(shape.elements(0, shape.rank() - 1));
  const std::vector<ValueId> moments =
      graph.add_node(std::make_shared<BatchMomentsOp>(), {x}, name + "/moments");
  const ValueId all = microbatch_sum(
      graph, fill(graph, {DType::kF32, {1}, nullptr}, count, name + "/count"), name + "/count/sum");
  const auto mean_of = [&](ValueId value, const std::string& what) {
    const ValueId sum = microbatch_sum(graph, scale(graph, value, count, name + "/" + what + "/share"),
                                       name + "/" + what + "/sum");
    return divide(graph, sum, all, name + "/" + what);
  };
  const ValueId mean = mean_of(moments[0], "mean");
  const ValueId distance = subtract(graph, moments[0], mean, name + "/distance");
  const ValueId square = multiply(graph, distance, distance, name + "/square");
  const ValueId variance = mean_of(add(graph, moments[1], square, name + "/spread"), "variance");
  return {batch_norm_inference(graph, x, scale_, offset, mean, variance, epsilon, name), mean, variance};
}

ValueId batch_norm_inference(Graph& graph, ValueId x, ValueId scale, ValueId offset, ValueId mean,
                             ValueId variance, double epsilon, const std::string& name) {
  return graph.add(std::make_shared<BatchNormInferenceOp>(epsilon),
                   {x, scale, offset, mean, variance}, name);
}

std::vector<FusionPattern> batch_norm_fusions() {
  std::vector<FusionPattern> patterns{{"batch_norm+relu", fuse_relu<BatchNormOp>},
                                      {"batch_norm_inference+relu", fuse_relu<BatchNormInferenceOp>},
                                      {"relu_backward+batch_norm_backward", fuse_relu_backward}};
  for (FusionPattern& pattern : batch_norm_residual_fusions()) patterns.push_back(std::move(pattern));
  return patterns;
}

}  // namespace lockstep
