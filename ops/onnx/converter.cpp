#include "ops/onnx/converter.h"

namespace lockstep {
namespace {

// perm[i] is the axis of the input that becomes axis i.
std::vector<std::int64_t> permutation(int rank, OnnxLayout to) {
  std::vector<std::int64_t> out{0};
  if (to == OnnxLayout::kFirst) out.push_back(rank - 1);
  for (int axis = to == OnnxLayout::kFirst ? 1 : 2; static_cast<int>(out.size()) < rank; ++axis) {
    out.push_back(axis < rank ? axis : 1);
  }
  return out;
}

}  // namespace

// ---- Registry ----------------------------------------------------------------------------------

void OnnxRegistry::add(const std::string& op_name, OnnxConverter converter) {
  require(converters_.emplace(op_name, std::move(converter)).second, "onnx: two converters for ", op_name);
}

const OnnxConverter* OnnxRegistry::find(std::string_view op_name) const {
  const auto found = converters_.find(op_name);
  return found == converters_.end() ? nullptr : &found->second;
}

std::int64_t onnx_axis(int axis, int rank, OnnxLayout layout) {
  const int counted = axis < 0 ? axis + rank : axis;
  if (layout == OnnxLayout::kLast || counted == 0) return counted;
  return counted == rank - 1 ? 1 : counted + 1;
}

// ---- One node ----------------------------------------------------------------------------------

const TensorType& OnnxNodeContext::input_type(int i) const {
  return conversion_.graph_.type(node_.inputs.at(static_cast<std::size_t>(i)));
}

const TensorType& OnnxNodeContext::output_type(int i) const {
  return conversion_.graph_.type(node_.outputs.at(static_cast<std::size_t>(i)));
}

std::string OnnxNodeContext::input(int i, OnnxLayout layout) {
  return conversion_.name_of(node_.inputs.at(static_cast<std::size_t>(i)), layout);
}

OnnxLayout OnnxNodeContext::layout_of(int i) const {
  const auto& place = conversion_.places_.at(static_cast<std::size_t>(node_.inputs.at(static_cast<std::size_t>(i))));
  return place.last.empty() && !place.first.empty() ? OnnxLayout::kFirst : OnnxLayout::kLast;
}

const std::vector<float>* OnnxNodeContext::constant_input(int i) const {
  return conversion_.constant(node_.inputs.at(static_cast<std::size_t>(i)));
}

const std::string& OnnxNodeContext::input_name(int i) const {
  return conversion_.graph_.value(node_.inputs.at(static_cast<std::size_t>(i))).name;
}

OnnxBuilder& OnnxNodeContext::builder() {
  return conversion_.builder_;
}

std::string OnnxNodeContext::add(const std::string& type, std::vector<std::string> inputs,
                                 std::vector<OnnxAttribute> attributes) {
  return conversion_.builder_.node(node_.name, type, std::move(inputs), std::move(attributes));
}

void OnnxNodeContext::output(int i, const std::string& name, OnnxLayout layout) {
  auto& place = conversion_.places_.at(static_cast<std::size_t>(node_.outputs.at(static_cast<std::size_t>(i))));
  // With two axes or fewer the layouts are one.
  const bool first = layout == OnnxLayout::kFirst && output_type(i).shape.rank() > 2;
  (first ? place.first : place.last) = name;
}

void OnnxNodeContext::constant_output(int i, std::vector<float> values) {
  conversion_.places_.at(static_cast<std::size_t>(node_.outputs.at(static_cast<std::size_t>(i)))).constant = std::move(values);
}

// ---- The whole graph ---------------------------------------------------------------------------

OnnxConversion::OnnxConversion(const Graph& graph, const OnnxRegistry& registry, StateValues states,
                               OnnxBuilder& builder)
    : graph_(graph), registry_(registry), states_(std::move(states)), builder_(builder), places_(graph.values().size()) {}

void OnnxConversion::set_input(ValueId id, const std::string& name) {
  places_.at(static_cast<std::size_t>(id)).last = name;
}

const std::vector<float>* OnnxConversion::constant(ValueId id) {
  Place& place = places_.at(static_cast<std::size_t>(id));
  const Value& value = graph_.value(id);
  if (!place.constant && value.kind == ValueKind::kState) place.constant = states_(value);
  return place.constant ? &*place.constant : nullptr;
}

std::string OnnxConversion::name_of(ValueId id, OnnxLayout layout) {
  Place& place = places_.at(static_cast<std::size_t>(id));
  const Value& value = graph_.value(id);
  if (place.last.empty() && place.first.empty()) {
    const std::vector<float>* values = constant(id);
    require(values != nullptr, "onnx: \"", value.name, "\" is read before it is there");
    place.last = builder_.constant(value.name, value.type.shape, *values);
  }
  const int rank = value.type.shape.rank();
  const bool first = layout == OnnxLayout::kFirst && rank > 2;
  std::string& wanted = first ? place.first : place.last;
  if (wanted.empty()) {
    const std::string& there = first ? place.last : place.first;
    wanted = builder_.node(value.name, "Transpose", {there}, {{"perm", permutation(rank, first ? OnnxLayout::kFirst : OnnxLayout::kLast)}});
  }
  return wanted;
}

void OnnxConversion::convert() {
  for (const Node& node : graph_.nodes()) {
    const OnnxConverter* converter = registry_.find(node.op->name());
    check_input(converter != nullptr, node.name, " (", node.op->name(), "): cannot be written as ONNX: there is no converter for ",
                node.op->name());
    OnnxNodeContext context(*this, node);
    try {
      (*converter)(context);
    } catch (const Error& error) {
      throw Error(error.kind(), text(node.name, " (", node.op->name(), "): ", error.what()));
    }
  }
}

}  // namespace lockstep
