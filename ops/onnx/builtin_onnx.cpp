#include "ops/onnx/builtin_onnx.h"

#include "core/builtin/builtin.h"

namespace lockstep {
namespace {

void convert_fill(OnnxNodeContext& to) {
  const auto elements = static_cast<std::size_t>(to.output_type(0).elements());
  check_input(to.output_type(0).dtype == DType::kF32, "cannot be written as ONNX: it makes ", to.output_type(0).to_string());
  to.constant_output(0, std::vector<float>(elements, static_cast<float>(to.op_as<FillOp>().value())));
}

void convert_copy(OnnxNodeContext& to) {
  const OnnxLayout layout = to.layout_of(0);
  to.output(0, to.input(0, layout), layout);
}

void convert_accumulate(OnnxNodeContext& to) {
  const OnnxLayout layout = to.layout_of(0);
  to.output(0, to.add("Add", {to.input(0, layout), to.input(1, layout)}), layout);
}

// A reshape that leaves the batch alone.
void convert_view(OnnxNodeContext& to) {
  const Shape &from = to.input_type(0).shape, &shape = to.output_type(0).shape;
  const bool keeps_batch = from.rank() > 0 && shape.rank() > 0 && from[0] == shape[0];
  check_input(to.op_as<ViewOp>().offset() == 0 && from.elements() == shape.elements() && keeps_batch,
              "cannot be written as ONNX: it is a view of ", from, " as ", shape, ", which is no reshape of samples");
  std::vector<std::int64_t> extents{0};  // as it is
  for (int axis = 1; axis < shape.rank(); ++axis) extents.push_back(shape[axis]);
  const std::string constant =
      to.builder().constant(to.name() + "/shape", {static_cast<std::int64_t>(extents.size())}, extents);
  to.output(0, to.add("Reshape", {to.input(0), constant}));
}

}  // namespace

void register_builtin_onnx(OnnxRegistry& registry) {
  registry.add("fill", convert_fill);
  registry.add("copy", convert_copy);
  registry.add("accumulate", convert_accumulate);
  registry.add("view", convert_view);
}

}  // namespace lockstep
