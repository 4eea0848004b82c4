#include "core/builtin/builtin.h"

#include "core/base/error.h"

namespace lockstep {
namespace {

void check_count(std::span<const TensorType> inputs, std::size_t expected) {
  check_input(inputs.size() == expected, "takes ", expected, " inputs, got ", inputs.size());
}

TensorType row_major(TensorType type) {
  type.layout = nullptr;
  return type;
}

}  // namespace

// ---- fill --------------------------------------------------------------------------------------

std::string FillOp::attributes() const {
  std::ostringstream out;
  out.precision(17);
  out << type_.to_string() << " value=" << value_;
  return out.str();
}

std::vector<TensorType> FillOp::infer(std::span<const TensorType> inputs) const {
  check_count(inputs, 0);
  return {type_};
}

// ---- cast --------------------------------------------------------------------------------------

std::string CastOp::attributes() const {
  return text("to=", name_of(to_));
}

std::vector<TensorType> CastOp::infer(std::span<const TensorType> inputs) const {
  check_count(inputs, 1);
  return {{to_, inputs[0].shape, nullptr}};
}

void CastOp::gradient(Backward& backward) const {
  if (!backward.wants(0) || backward.wide_cotangent(0) == kNoValue) return;
  Graph& graph = backward.graph();
  const DType from = graph.type(backward.input(0)).dtype;
  backward.accumulate(0, cast(graph, backward.wide_cotangent(0), from, backward.name()));
}

// ---- accumulate --------------------------------------------------------------------------------

std::vector<TensorType> AccumulateOp::infer(std::span<const TensorType> inputs) const {
  check_count(inputs, 2);
  check_input(inputs[0].dtype == inputs[1].dtype && inputs[0].shape == inputs[1].shape, "inputs ",
              inputs[0].to_string(), " and ", inputs[1].to_string(),
              " differ, expected equal types");
  return {row_major(inputs[0])};
}

void AccumulateOp::gradient(Backward& backward) const {
  if (backward.cotangent(0) == kNoValue) return;
  for (int i = 0; i < 2; ++i) {
    if (backward.wants(i)) backward.accumulate(i, backward.cotangent(0));
  }
}

// ---- copy --------------------------------------------------------------------------------------

std::vector<TensorType> CopyOp::infer(std::span<const TensorType> inputs) const {
  check_count(inputs, 1);
  return {row_major(inputs[0])};
}

void CopyOp::gradient(Backward& backward) const {
  if (backward.cotangent(0) == kNoValue || !backward.wants(0)) return;
  backward.accumulate(0, backward.cotangent(0));
}

// ---- view --------------------------------------------------------------------------------------

std::string ViewOp::attributes() const {
  return offset_ == 0 ? text("shape=", shape_) : text("shape=", shape_, " offset=", offset_);
}

std::vector<TensorType> ViewOp::infer(std::span<const TensorType> inputs) const {
  check_count(inputs, 1);
  check_input(offset_ == 0 || size_of(inputs[0].dtype) == element_bytes_, "input is ",
              inputs[0].to_string(), ", expected elements of ", element_bytes_, " bytes");
  check_input(offset_ >= 0 && offset_ + shape_.elements() <= inputs[0].elements(), "shape ", shape_,
              " from element ", offset_, " does not fit in ", inputs[0].to_string());
  return {{inputs[0].dtype, shape_, nullptr}};
}

void ViewOp::gradient(Backward& backward) const {
  const Shape& from = backward.graph().type(backward.input(0)).shape;
  if (backward.cotangent(0) == kNoValue || !backward.wants(0)) return;
  require(from.elements() == shape_.elements(), backward.node().name,
          ": a part of a value has no gradient");
  backward.accumulate(0, view(backward.graph(), backward.cotangent(0), from, 0, backward.name()));
}

// ---- pack --------------------------------------------------------------------------------------

std::vector<TensorType> PackOp::infer(std::span<const TensorType> inputs) const {
  check_input(!inputs.empty(), "takes one input at least");
  std::int64_t elements = 0;
  for (const TensorType& type : inputs) {
    check_input(type.dtype == inputs[0].dtype, "inputs ", inputs[0].to_string(), " and ",
                type.to_string(), " differ in type");
    elements += type.elements();
  }
  return {{inputs[0].dtype, {elements}, nullptr}};
}

// ---- Builders ----------------------------------------------------------------------------------

ValueId fill(Graph& graph, const TensorType& type, double value, const std::string& name) {
  return graph.add(std::make_shared<FillOp>(type, value), {}, name);
}

ValueId cast(Graph& graph, ValueId x, DType to, const std::string& name) {
  if (graph.type(x).dtype == to) return x;
  return graph.add(std::make_shared<CastOp>(to), {x}, name);
}

ValueId accumulate(Graph& graph, ValueId a, ValueId b, const std::string& name) {
  return graph.add(std::make_shared<AccumulateOp>(), {a, b}, name);
}

ValueId copy(Graph& graph, ValueId x, const std::string& name) {
  return graph.add(std::make_shared<CopyOp>(), {x}, name);
}

ValueId view(Graph& graph, ValueId x, const Shape& shape, std::int64_t offset,
             const std::string& name) {
  const TensorType& type = graph.type(x);
  if (offset == 0 && type.shape == shape) return x;
  return graph.add(std::make_shared<ViewOp>(shape, offset, type.dtype), {x}, name);
}

ValueId pack(Graph& graph, const std::vector<ValueId>& values, const std::string& name) {
  return graph.add(std::make_shared<PackOp>(), values, name);
}

}  // namespace lockstep
