// Softmax as ONNX.
#include "ops/onnx/converter.h"
#include "ops/softmax/softmax.h"

namespace lockstep {
namespace {

void convert(OnnxNodeContext& to) {
  const OnnxLayout layout = to.layout_of(0);
  const std::int64_t axis = onnx_axis(to.op_as<SoftmaxOp>().axis(), to.input_type(0).shape.rank(), layout);
  to.output(0, to.add("Softmax", {to.input(0, layout)}, {{"axis", axis}}), layout);
}

}  // namespace

void register_softmax_onnx(OnnxRegistry& registry) {
  registry.add("softmax", convert);
}

}  // namespace lockstep
