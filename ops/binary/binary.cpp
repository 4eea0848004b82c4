#include "ops/binary/binary.h"

#include <cmath>

#include "core/base/error.h"
#include "core/builtin/builtin.h"
#include "ops/attributes.h"
#include "ops/reduce/reduce.h"

namespace lockstep {
namespace {

void check_floating(const TensorType& type) {
  check_input(type.dtype == DType::kF32 || type.dtype == DType::kBF16, "input is ",
              type.to_string(), ", expected f32 or bf16");
}

// The sum of `x` over the axes along which a value of that shape was repeated to become x's shape.
ValueId sum_to_shape(Graph& graph, ValueId x, const Shape& shape, const std::string& name) {
  const Shape from = graph.type(x).shape;
  if (from == shape) return x;
  std::vector<int> axes;
  for (int axis = 0; axis < from.rank(); ++axis) {
    const int own = axis - (from.rank() - shape.rank());
    if (own < 0 || (shape[own] == 1 && from[axis] != 1)) axes.push_back(axis);
  }
  const ValueId sum = axes.empty() ? x : reduce_sum(graph, x, axes, true, name);
  return view(graph, sum, shape, 0, name);
}

}  // namespace

// ---- Binary ------------------------------------------------------------------------------------

std::string_view BinaryOp::name() const {
  switch (kind_) {
    case BinaryKind::kAdd:
      return "add";
    case BinaryKind::kSubtract:
      return "subtract";
    case BinaryKind::kMultiply:
      return "multiply";
    case BinaryKind::kDivide:
      return "divide";
  }
  broken_invariant("a binary op of no known kind");
}

std::vector<TensorType> BinaryOp::infer(std::span<const TensorType> inputs) const {
  check_input(inputs.size() == 2, "takes 2 inputs, got ", inputs.size());
  check_floating(inputs[0]);
  check_input(inputs[0].dtype == inputs[1].dtype, "inputs ", inputs[0].to_string(), " and ",
              inputs[1].to_string(), " differ in type");
  const Shape shape = broadcast(inputs[0].shape, inputs[1].shape);
  const bool first_full = shape == inputs[0].shape;
  const bool same = first_full && shape == inputs[1].shape;
  check_input(shapes_ != BinaryShapes::kSame || same, "inputs ", inputs[0].to_string(), " and ",
              inputs[1].to_string(), " differ, expected equal shapes");
  check_input(shapes_ != BinaryShapes::kFirstFull || first_full, "input ", inputs[1].to_string(),
              " does not broadcast to ", inputs[0].to_string());
  return {{inputs[0].dtype, shape, nullptr}};
}

Traits BinaryOp::traits() const {
  const bool same = shapes_ == BinaryShapes::kSame;
  return {.elementwise = same,
          .keeps_zero = same && kind_ != BinaryKind::kDivide,
          .may_overwrite = shapes_ == BinaryShapes::kBroadcast ? -1 : 0,
          .precision = Precision::kFollow};
}

void BinaryOp::gradient(Backward& backward) const {
  const ValueId dy = backward.cotangent(0);
  if (dy == kNoValue) return;
  Graph& graph = backward.graph();
  const ValueId a = backward.input(0), b = backward.input(1), y = backward.output(0);
  const std::string name = backward.name();
  const Shape a_shape = graph.type(a).shape, b_shape = graph.type(b).shape;
  const bool wants_a = backward.wants(0), wants_b = backward.wants(1);
  ValueId da = dy, db = dy;  // in the shape of y
  if (kind_ == BinaryKind::kMultiply) {
    if (wants_a) da = multiply(graph, dy, b, name);
    if (wants_b) db = multiply(graph, dy, a, name);
  } else if (kind_ == BinaryKind::kDivide) {
    da = divide(graph, dy, b, name);
    if (wants_b) db = multiply(graph, da, y, name);  // y / b = a / b^2, negated below
  }
  if (wants_a) backward.accumulate(0, sum_to_shape(graph, da, a_shape, name));
  if (!wants_b) return;
  db = sum_to_shape(graph, db, b_shape, name);
  const bool negative = kind_ == BinaryKind::kSubtract || kind_ == BinaryKind::kDivide;
  backward.accumulate(1, negative ? scale(graph, db, -1.0, name) : db);
}

// ---- Scale -------------------------------------------------------------------------------------

std::string ScaleOp::attributes() const {
  return "factor=" + exact(factor_);
}

std::vector<TensorType> ScaleOp::infer(std::span<const TensorType> inputs) const {
  check_input(inputs.size() == 1, "takes 1 input, got ", inputs.size());
  check_floating(inputs[0]);
  check_input(std::isfinite(factor_), "factor is ", factor_, ", expected a finite number");
  return {{inputs[0].dtype, inputs[0].shape, nullptr}};
}

void ScaleOp::gradient(Backward& backward) const {
  if (!backward.wants(0) || backward.cotangent(0) == kNoValue) return;
  backward.accumulate(0, scale(backward.graph(), backward.cotangent(0), factor_, backward.name()));
}

// ---- Builders ----------------------------------------------------------------------------------

ValueId binary(Graph& graph, BinaryKind kind, ValueId a, ValueId b, const std::string& name) {
  const Shape &left = graph.type(a).shape, &right = graph.type(b).shape;
  BinaryShapes shapes = BinaryShapes::kBroadcast;
  if (left == right) {
    shapes = BinaryShapes::kSame;
  } else if (right.rank() <= left.rank()) {
    bool fits = true;
    for (int i = 1; i <= right.rank(); ++i) fits &= right[-i] == left[-i] || right[-i] == 1;
    if (fits) shapes = BinaryShapes::kFirstFull;
  }
  return graph.add(std::make_shared<BinaryOp>(kind, shapes), {a, b}, name);
}

ValueId add(Graph& graph, ValueId a, ValueId b, const std::string& name) {
  return binary(graph, BinaryKind::kAdd, a, b, name);
}

ValueId subtract(Graph& graph, ValueId a, ValueId b, const std::string& name) {
  return binary(graph, BinaryKind::kSubtract, a, b, name);
}

ValueId multiply(Graph& graph, ValueId a, ValueId b, const std::string& name) {
  return binary(graph, BinaryKind::kMultiply, a, b, name);
}

ValueId divide(Graph& graph, ValueId a, ValueId b, const std::string& name) {
  return binary(graph, BinaryKind::kDivide, a, b, name);
}

ValueId scale(Graph& graph, ValueId x, double factor, const std::string& name) {
  return graph.add(std::make_shared<ScaleOp>(factor), {x}, name);
}

}  // namespace lockstep
