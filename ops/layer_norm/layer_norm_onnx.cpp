// Layer normalisation as ONNX.
#include "ops/layer_norm/layer_norm.h"
#include "ops/onnx/converter.h"

namespace lockstep {
namespace {

void convert(OnnxNodeContext& to) {
  const std::int64_t axis = to.input_type(0).shape.rank() - to.input_type(1).shape.rank();
  const auto epsilon = static_cast<float>(to.op_as<LayerNormOp>().epsilon());
  to.output(0, to.add("LayerNormalization", {to.input(0), to.input(1), to.input(2)},
                      {{"axis", axis}, {"epsilon", epsilon}}));
}

}  // namespace

void register_layer_norm_onnx(OnnxRegistry& registry) {
  registry.add("layer_norm", convert);
}

}  // namespace lockstep
