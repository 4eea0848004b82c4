// A bias as ONNX.
#include "ops/bias/bias.h"
#include "ops/onnx/converter.h"

namespace lockstep {
namespace {

void convert(OnnxNodeContext& to) {
  to.output(0, to.add("Add", {to.input(0), to.input(1)}));
}

}  // namespace

void register_bias_onnx(OnnxRegistry& registry) {
  registry.add("bias", convert);
}

}  // namespace lockstep
