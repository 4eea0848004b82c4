// Batch normalisation as ONNX: in inference, by given mean and variance.
#include "ops/batch_norm/batch_norm.h"
#include "ops/onnx/converter.h"

namespace lockstep {
namespace {

void convert(OnnxNodeContext& to) {
  const auto& op = to.op_as<BatchNormInferenceOp>();
  const std::string x = to.input(0, OnnxLayout::kFirst);
  std::string y = to.add("BatchNormalization", {x, to.input(1), to.input(2), to.input(3), to.input(4)},
                         {{"epsilon", static_cast<float>(op.epsilon())}});
  if (op.relu()) y = to.add("Relu", {y});
  to.output(0, y, OnnxLayout::kFirst);
}

}  // namespace

void register_batch_norm_onnx(OnnxRegistry& registry) {
  registry.add("batch_norm_inference", convert);
}

}  // namespace lockstep
