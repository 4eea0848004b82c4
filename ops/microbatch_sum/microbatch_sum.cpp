#include "ops/microbatch_sum/microbatch_sum.h"

#include "core/base/error.h"

namespace lockstep {

std::vector<TensorType> MicrobatchSumOp::infer(std::span<const TensorType> inputs) const {
  check_input(inputs.size() == 1 && inputs[0].dtype == DType::kF32 && inputs[0].layout == nullptr,
              "takes one row-major f32 input");
  return {inputs[0]};
}

void MicrobatchSumOp::gradient(Backward& backward) const {
  const ValueId dy = backward.cotangent(0);
  if (dy == kNoValue || !backward.wants(0)) return;
  backward.accumulate(0, microbatch_sum(backward.graph(), dy, backward.name()));
}

ValueId microbatch_sum(Graph& graph, ValueId x, const std::string& name) {
  return graph.add(std::make_shared<MicrobatchSumOp>(), {x}, name);
}

}  // namespace lockstep
