#include "ops/batch_norm/batch_norm_residual.h"

#include <algorithm>

#include "core/builtin/builtin.h"
#include "ops/batch_norm/batch_norm.h"
#include "ops/batch_norm/batch_norm_types.h"
#include "ops/binary/binary.h"

namespace lockstep {

using namespace batch_norm_types;  // NOLINT: its file is written for this one and for batch_norm.cpp

namespace {

void check_like(const TensorType& found, const TensorType& x, const char* what) {
  check_input(found.dtype == x.dtype && found.shape == x.shape, what, " is ", found.to_string(), ", the input ", x.to_string(),
              ", expected equal types");
}

// ---- Fusion ------------------------------------------------------------------------------------

// Whether nobody reads this value before the root does.
bool read_from_root_on(const FusionSite& site, ValueId value) {
  return std::ranges::all_of(site.readers[value], [&](NodeId reader) { return reader >= site.root; });
}

// The sum of a y that only it reads and of another value. Mean and variance are computed where the sum was, so nobody may
// read them before. Where both are of a batch norm, the later one is taken: its x was touched last.
std::optional<Fusion> fuse_sum(const FusionSite& site) {
  const Node& sum = site.node();
  const auto* binary = dynamic_cast<const BinaryOp*>(sum.op.get());
  if (binary == nullptr || binary->kind() != BinaryKind::kAdd || sum.inputs[0] == sum.inputs[1]) return std::nullopt;
  if (site.graph.type(sum.inputs[0]) != site.graph.type(sum.inputs[1])) return std::nullopt;
  const int later = sum.inputs[0] > sum.inputs[1] ? 0 : 1;
  for (const int side : {later, 1 - later}) {
    const ValueId y = sum.inputs[static_cast<std::size_t>(side)];
    const Node* norm = site.producer(sum, side);
    const auto* op = norm == nullptr ? nullptr : dynamic_cast<const BatchNormOp*>(norm->op.get());
    if (op == nullptr || op->relu() || y != norm->outputs[0] || !site.only_read_by(y, site.root)) continue;
    if (!read_from_root_on(site, norm->outputs[1]) || !read_from_root_on(site, norm->outputs[2])) continue;
    Fusion fusion{std::make_shared<BatchNormResidualOp>(op->epsilon()), norm->inputs, norm->outputs,
                  {site.graph.value(y).producer}};
    fusion.inputs.push_back(sum.inputs[static_cast<std::size_t>(1 - side)]);
    fusion.outputs[0] = sum.outputs[0];
    return fusion;
  }
  return std::nullopt;
}

std::optional<Fusion> fuse_relu(const FusionSite& site) {
  if (!is_relu(site.node())) return std::nullopt;
  const ValueId sum = site.node().inputs[0];
  const Node* norm = site.producer(site.node(), 0);
  const auto* op = norm == nullptr ? nullptr : dynamic_cast<const BatchNormResidualOp*>(norm->op.get());
  if (op == nullptr || op->relu() || !site.only_read_by(sum, site.root)) return std::nullopt;
  if (!read_from_root_on(site, norm->outputs[1]) || !read_from_root_on(site, norm->outputs[2])) return std::nullopt;
  Fusion fusion{std::make_shared<BatchNormResidualOp>(op->epsilon(), true), norm->inputs, norm->outputs,
                {site.graph.value(sum).producer}};
  fusion.outputs[0] = site.node().outputs[0];
  return fusion;
}

// batch_norm_backward of a gradient that relu_backward made, which others may read later: it is an output.
std::optional<Fusion> fuse_relu_backward(const FusionSite& site) {
  const Node& norm = site.node();
  const auto* op = dynamic_cast<const BatchNormBackwardOp*>(norm.op.get());
  if (op == nullptr || op->relu() || norm.inputs.size() != 6) return std::nullopt;
  const ValueId d = norm.inputs[0];
  const Node* relu = site.producer(norm, 0);
  if (relu == nullptr || !is_relu_backward(*relu)) return std::nullopt;
  const NodeId producer = site.graph.value(d).producer;
  if (site.taken[producer] || site.is_output[d] || !read_from_root_on(site, d)) return std::nullopt;
  Fusion fusion{std::make_shared<BatchNormResidualBackwardOp>(op->epsilon()), {relu->inputs[0], relu->inputs[1]},
                {d, norm.outputs[0], norm.outputs[1], norm.outputs[2]}, {producer}};
  fusion.inputs.insert(fusion.inputs.end(), norm.inputs.begin() + 1, norm.inputs.end());
  return fusion;
}

// The dy of that as a sum of two.
std::optional<Fusion> fuse_accumulate(const FusionSite& site) {
  const Node& norm = site.node();
  const auto* op = dynamic_cast<const BatchNormResidualBackwardOp*>(norm.op.get());
  if (op == nullptr || norm.inputs.size() != 7 || !site.only_read_by(norm.inputs[0], site.root)) return std::nullopt;
  const Node* sum = site.producer(norm, 0);
  if (dynamic_cast<const AccumulateOp*>(sum->op.get()) == nullptr) return std::nullopt;
  Fusion fusion{norm.op, norm.inputs, norm.outputs, {site.graph.value(norm.inputs[0]).producer}};
  fusion.inputs[0] = sum->inputs[0];
  fusion.inputs.push_back(sum->inputs[1]);
  return fusion;
}

}  // namespace

// ---- batch_norm_residual -----------------------------------------------------------------------

std::string BatchNormResidualOp::attributes() const { return attributes_of(epsilon_, relu_); }

std::vector<TensorType> BatchNormResidualOp::infer(std::span<const TensorType> inputs) const {
  check_input(inputs.size() == 4, "takes input, scale, offset and what is added, got ", inputs.size(), " inputs");
  check_like(inputs[3], inputs[0], "what is added");
  return BatchNormOp(epsilon_).infer(inputs.first(3));
}

double BatchNormResidualOp::flops(std::span<const TensorType> inputs, std::span<const TensorType>) const {
  return 8 * elements(inputs[0]);
}

// ---- batch_norm_residual_backward --------------------------------------------------------------

std::string BatchNormResidualBackwardOp::attributes() const { return attributes_of(epsilon_, false); }

std::vector<TensorType> BatchNormResidualBackwardOp::infer(std::span<const TensorType> inputs) const {
  check_input(inputs.size() == 7 || inputs.size() == 8,
              "takes dy, the result, input, scale, offset, mean, variance and perhaps a second dy, got ", inputs.size(),
              " inputs");
  const TensorType& x = inputs[2];
  check_data(x);
  check_like(inputs[0], x, "dy");
  check_like(inputs[1], x, "the result");
  const char* names[] = {"scale", "offset", "mean", "variance"};
  for (std::size_t i = 3; i < 7; ++i) check_channels(inputs[i], x, names[i - 3]);
  if (inputs.size() == 8) check_like(inputs[7], x, "the second dy");
  return {row_major(x), row_major(x), inputs[3], inputs[3]};
}

double BatchNormResidualBackwardOp::flops(std::span<const TensorType> inputs, std::span<const TensorType>) const {
  return 9 * elements(inputs[0]);
}

std::vector<FusionPattern> batch_norm_residual_fusions() {
  return {{"batch_norm+add", fuse_sum},
          {"batch_norm_residual+relu", fuse_relu},
          {"relu_backward+batch_norm_backward, both read", fuse_relu_backward},
          {"accumulate+batch_norm_residual_backward", fuse_accumulate}};
}

}  // namespace lockstep
