// add, subtract, multiply, divide and scale as ONNX, whose broadcasting is NumPy's as well.
#include "ops/binary/binary.h"
#include "ops/onnx/converter.h"

namespace lockstep {
namespace {

const char* type_of(BinaryKind kind) {
  switch (kind) {
    case BinaryKind::kAdd:
      return "Add";
    case BinaryKind::kSubtract:
      return "Sub";
    case BinaryKind::kMultiply:
      return "Mul";
    case BinaryKind::kDivide:
      return "Div";
  }
  broken_invariant("an arithmetic op of no known kind");
}

void convert_binary(OnnxNodeContext& to) {
  // Of tensors with fewer axes than the result, axis 1 is not where broadcasting expects it.
  const bool equal_ranks = to.input_type(0).shape.rank() == to.input_type(1).shape.rank();
  const bool is_first = to.layout_of(0) == OnnxLayout::kFirst || to.layout_of(1) == OnnxLayout::kFirst;
  const OnnxLayout layout = equal_ranks && is_first ? OnnxLayout::kFirst : OnnxLayout::kLast;
  const std::string a = to.input(0, layout), b = to.input(1, layout);
  to.output(0, to.add(type_of(to.op_as<BinaryOp>().kind()), {a, b}), layout);
}

void convert_scale(OnnxNodeContext& to) {
  const auto factor = static_cast<float>(to.op_as<ScaleOp>().factor());
  const std::string constant = to.builder().constant(to.name() + "/factor", {}, std::vector<float>{factor});
  const OnnxLayout layout = to.layout_of(0);
  to.output(0, to.add("Mul", {to.input(0, layout), constant}), layout);
}

}  // namespace

void register_binary_onnx(OnnxRegistry& registry) {
  for (const char* name : {"add", "subtract", "multiply", "divide"}) registry.add(name, convert_binary);
  registry.add("scale", convert_scale);
}

}  // namespace lockstep
