#include "ops/dropout/dropout.h"

#include "core/base/error.h"
#include "ops/attributes.h"

namespace lockstep {

DropoutOp::DropoutOp(double rate, std::uint64_t seed, std::uint32_t stream)
    : rate_(rate), seed_(seed), stream_(stream) {
  check_input(rate >= 0 && rate < 1, "dropout: rate is ", rate, ", expected 0 <= rate < 1");
}

std::string DropoutOp::attributes() const {
  return text("rate=", exact(rate_), " seed=", seed_, " stream=", stream_);
}

std::vector<TensorType> DropoutOp::infer(std::span<const TensorType> inputs) const {
  check_input(inputs.size() == 3, "takes 3 inputs, got ", inputs.size());
  const TensorType &x = inputs[0], &step = inputs[1], &sample = inputs[2];
  check_input(x.dtype == DType::kF32 || x.dtype == DType::kBF16, "input is ", x.to_string(),
              ", expected f32 or bf16");
  check_input(x.shape.rank() >= 1, "input is ", x.to_string(), ", expected (batch, ...)");
  check_input(step.dtype == DType::kI64 && step.shape.rank() == 0, "step is ", step.to_string(),
              ", expected i64()");
  check_input(sample.dtype == DType::kI64 && sample.shape == Shape{x.shape[0]}, "sample is ",
              sample.to_string(), ", expected i64", Shape{x.shape[0]});
  return {{x.dtype, x.shape, nullptr}};
}

void DropoutOp::gradient(Backward& backward) const {
  if (!backward.wants(0) || backward.cotangent(0) == kNoValue) return;
  backward.accumulate(
      0, backward.graph().add(std::make_shared<DropoutOp>(*this),
                              {backward.cotangent(0), backward.input(1), backward.input(2)},
                              backward.name()));
}

double DropoutOp::flops(std::span<const TensorType> inputs, std::span<const TensorType>) const {
  return 2.0 * static_cast<double>(inputs[0].elements());
}

ValueId dropout(Graph& graph, ValueId x, double rate, const DropoutSource& source,
                const std::string& name) {
  const auto op = std::make_shared<DropoutOp>(rate, source.seed, source.stream);
  return graph.add(op, {x, source.step, source.sample}, name);
}

}  // namespace lockstep
