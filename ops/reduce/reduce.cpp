#include "ops/reduce/reduce.h"

#include "core/base/error.h"
#include "core/builtin/builtin.h"
#include "ops/attributes.h"

namespace lockstep {
namespace {

void check_floating(const TensorType& type) {
  check_input(type.dtype == DType::kF32 || type.dtype == DType::kBF16, "input is ",
              type.to_string(), ", expected f32 or bf16");
}

// The shape with extent 1 for every reduced axis, or without these axes.
Shape result_shape(const Shape& shape, const std::vector<bool>& reduced, bool keepdims) {
  Shape out;
  for (int axis = 0; axis < shape.rank(); ++axis) {
    if (!reduced[axis]) {
      out = out.append(shape[axis]);
    } else if (keepdims) {
      out = out.append(1);
    }
  }
  return out;
}

std::int64_t reduced_elements(const Shape& shape, const std::vector<bool>& reduced) {
  std::int64_t count = 1;
  for (int axis = 0; axis < shape.rank(); ++axis) count *= reduced[axis] ? shape[axis] : 1;
  return count;
}

}  // namespace

// ---- Forward -----------------------------------------------------------------------------------

std::string_view ReduceOp::name() const {
  switch (kind_) {
    case ReduceKind::kSum:
      return "reduce_sum";
    case ReduceKind::kMean:
      return "reduce_mean";
    case ReduceKind::kMax:
      return "reduce_max";
  }
  broken_invariant("a reduction of no known kind");
}

std::string ReduceOp::attributes() const {
  std::string out = "axes=";
  if (axes_.empty()) out += "all";
  for (std::size_t i = 0; i < axes_.size(); ++i) out += text(i > 0 ? "," : "", axes_[i]);
  return out + (keepdims_ ? " keepdims=true" : "");
}

std::vector<bool> ReduceOp::reduced(const Shape& shape) const {
  std::vector<bool> out(shape.rank(), axes_.empty());
  for (const int axis : axes_) {
    check_input(axis >= -shape.rank() && axis < shape.rank(), "axis ", axis,
                " is not one of the input ", shape);
    const int at = axis < 0 ? axis + shape.rank() : axis;
    check_input(!out[at], "axis ", axis, " is named twice");
    out[at] = true;
  }
  return out;
}

std::vector<TensorType> ReduceOp::infer(std::span<const TensorType> inputs) const {
  check_input(inputs.size() == 1, "takes 1 input, got ", inputs.size());
  check_floating(inputs[0]);
  const Shape& shape = inputs[0].shape;
  const std::vector<bool> over = reduced(shape);
  check_input(kind_ == ReduceKind::kSum || reduced_elements(shape, over) > 0, "input ",
              inputs[0].to_string(),
              " has no elements along the reduced axes, expected one at least");
  return {{inputs[0].dtype, result_shape(shape, over, keepdims_), nullptr}};
}

void ReduceOp::gradient(Backward& backward) const {
  if (!backward.wants(0) || backward.cotangent(0) == kNoValue) return;
  Graph& graph = backward.graph();
  const std::string name = backward.name();
  const Shape shape = graph.type(backward.input(0)).shape;
  const std::vector<bool> over = reduced(shape);
  const Shape kept = result_shape(shape, over, true);
  const ValueId dy = view(graph, backward.cotangent(0), kept, 0, name);
  if (kind_ == ReduceKind::kMax) {
    const ValueId y = view(graph, backward.output(0), kept, 0, name);
    backward.accumulate(
        0, graph.add(std::make_shared<MaxBackwardOp>(), {dy, y, backward.input(0)}, name));
    return;
  }
  const double count = static_cast<double>(reduced_elements(shape, over));
  const double scale = kind_ == ReduceKind::kMean ? 1.0 / count : 1.0;
  backward.accumulate(0, graph.add(std::make_shared<SumBackwardOp>(shape, scale), {dy}, name));
}

double ReduceOp::flops(std::span<const TensorType> inputs, std::span<const TensorType>) const {
  return static_cast<double>(inputs[0].elements());
}

// ---- Backward ----------------------------------------------------------------------------------

std::string SumBackwardOp::attributes() const {
  return text("shape=", shape_, " scale=", exact(scale_));
}

std::vector<TensorType> SumBackwardOp::infer(std::span<const TensorType> inputs) const {
  check_input(inputs.size() == 1, "takes 1 input, got ", inputs.size());
  check_floating(inputs[0]);
  check_input(
      inputs[0].shape.rank() == shape_.rank() && broadcast(inputs[0].shape, shape_) == shape_,
      "gradient ", inputs[0].to_string(), " does not broadcast to ", shape_);
  return {{inputs[0].dtype, shape_, nullptr}};
}

std::vector<TensorType> MaxBackwardOp::infer(std::span<const TensorType> inputs) const {
  check_input(inputs.size() == 3, "takes 3 inputs, got ", inputs.size());
  check_floating(inputs[2]);
  const TensorType &dy = inputs[0], &y = inputs[1], &x = inputs[2];
  check_input(dy.dtype == x.dtype && y.dtype == x.dtype && dy.shape == y.shape &&
                  y.shape.rank() == x.shape.rank() && broadcast(y.shape, x.shape) == x.shape,
              "gradient ", dy.to_string(), " and maximum ", y.to_string(), " do not fit input ",
              x.to_string());
  return {{x.dtype, x.shape, nullptr}};
}

// ---- Builders ----------------------------------------------------------------------------------

ValueId reduce_sum(Graph& graph, ValueId x, const std::vector<int>& axes, bool keepdims,
                   const std::string& name) {
  return graph.add(std::make_shared<ReduceOp>(ReduceKind::kSum, axes, keepdims), {x}, name);
}

ValueId reduce_mean(Graph& graph, ValueId x, const std::vector<int>& axes, bool keepdims,
                    const std::string& name) {
  return graph.add(std::make_shared<ReduceOp>(ReduceKind::kMean, axes, keepdims), {x}, name);
}

ValueId reduce_max(Graph& graph, ValueId x, const std::vector<int>& axes, bool keepdims,
                   const std::string& name) {
  return graph.add(std::make_shared<ReduceOp>(ReduceKind::kMax, axes, keepdims), {x}, name);
}

}  // namespace lockstep
