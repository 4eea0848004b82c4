#include "ops/concat/concat.h"

#include "core/base/error.h"

namespace lockstep {

std::string ConcatOp::attributes() const {
  return text("axis=", axis_);
}

std::vector<TensorType> ConcatOp::infer(std::span<const TensorType> inputs) const {
  check_input(!inputs.empty(), "takes one input at least");
  const TensorType& first = inputs[0];
  check_input(axis_ >= -first.shape.rank() && axis_ < first.shape.rank(), "axis ", axis_,
              " is not one of the input ", first.to_string());
  std::int64_t extent = 0;
  for (const TensorType& type : inputs) {
    const bool fits = type.dtype == first.dtype && type.shape.rank() == first.shape.rank() &&
                      type.shape.with(axis_, 0) == first.shape.with(axis_, 0);
    check_input(fits, "inputs ", first.to_string(), " and ", type.to_string(),
                " differ beside axis ", axis_);
    extent += type.shape[axis_];
  }
  return {{first.dtype, first.shape.with(axis_, extent), nullptr}};
}

void ConcatOp::gradient(Backward& backward) const {
  if (backward.cotangent(0) == kNoValue) return;
  std::vector<std::int64_t> extents;
  for (const ValueId input : backward.node().inputs) {
    extents.push_back(backward.graph().type(input).shape[axis_]);
  }
  const auto op = std::make_shared<ConcatBackwardOp>(axis_, std::move(extents));
  const std::vector<ValueId> parts =
      backward.graph().add_node(op, {backward.cotangent(0)}, backward.name());
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const int input = static_cast<int>(i);
    if (backward.wants(input)) backward.accumulate(input, parts[i]);
  }
}

std::string ConcatBackwardOp::attributes() const {
  std::string out = text("axis=", axis_, " extents=");
  for (std::size_t i = 0; i < extents_.size(); ++i) out += text(i > 0 ? "," : "", extents_[i]);
  return out;
}

std::vector<TensorType> ConcatBackwardOp::infer(std::span<const TensorType> inputs) const {
  check_input(inputs.size() == 1, "takes 1 input, got ", inputs.size());
  std::int64_t total = 0;
  for (const std::int64_t extent : extents_) total += extent;
  const TensorType& dy = inputs[0];
  check_input(axis_ >= -dy.shape.rank() && axis_ < dy.shape.rank() && dy.shape[axis_] == total,
              "gradient is ", dy.to_string(), ", expected ", total, " elements along axis ", axis_);
  std::vector<TensorType> out;
  for (const std::int64_t extent : extents_) {
    out.push_back({dy.dtype, dy.shape.with(axis_, extent), nullptr});
  }
  return out;
}

ValueId concat(Graph& graph, const std::vector<ValueId>& values, int axis,
               const std::string& name) {
  return graph.add(std::make_shared<ConcatOp>(axis), values, name);
}

}  // namespace lockstep
