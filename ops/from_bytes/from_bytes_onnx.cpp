// Bytes that become numbers as ONNX.
#include "ops/from_bytes/from_bytes.h"
#include "ops/onnx/converter.h"
#include "ops/onnx/normalization.h"

namespace lockstep {
namespace {

void convert(OnnxNodeContext& to) {
  const auto& op = to.op_as<FromBytesOp>();
  const auto features = static_cast<std::int64_t>(op.features());
  const std::string y = onnx_normalized(to.builder(), to.name(), to.input(0), DType::kU8, {features}, op.shift(), op.scale());
  to.output(0, y);
}

}  // namespace

void register_from_bytes_onnx(OnnxRegistry& registry) {
  registry.add("from_bytes", convert);
}

}  // namespace lockstep
