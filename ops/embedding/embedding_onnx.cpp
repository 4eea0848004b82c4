// Embedding as ONNX.
#include "ops/embedding/embedding.h"
#include "ops/onnx/converter.h"

namespace lockstep {
namespace {

void convert(OnnxNodeContext& to) {
  to.output(0, to.add("Gather", {to.input(0), to.input(1)}, {{"axis", std::int64_t{0}}}));
}

}  // namespace

void register_embedding_onnx(OnnxRegistry& registry) {
  registry.add("embedding", convert);
}

}  // namespace lockstep
