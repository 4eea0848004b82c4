// Concatenation as ONNX.
#include "ops/concat/concat.h"
#include "ops/onnx/converter.h"

namespace lockstep {
namespace {

void convert(OnnxNodeContext& to) {
  const OnnxLayout layout = to.layout_of(0);
  std::vector<std::string> inputs;
  for (std::size_t i = 0; i < to.inputs(); ++i) inputs.push_back(to.input(static_cast<int>(i), layout));
  const std::int64_t axis = onnx_axis(to.op_as<ConcatOp>().axis(), to.output_type(0).shape.rank(), layout);
  to.output(0, to.add("Concat", std::move(inputs), {{"axis", axis}}), layout);
}

}  // namespace

void register_concat_onnx(OnnxRegistry& registry) {
  registry.add("concat", convert);
}

}  // namespace lockstep
