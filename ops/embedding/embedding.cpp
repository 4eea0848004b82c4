#include "ops/embedding/embedding.h"

#include "core/base/error.h"

namespace lockstep {

std::vector<TensorType> EmbeddingOp::infer(std::span<const TensorType> inputs) const {
  check_input(inputs.size() == 2, "takes 2 inputs, got ", inputs.size());
  const TensorType &table = inputs[0], &ids = inputs[1];
  check_input(table.dtype == DType::kF32 && table.shape.rank() == 2, "table is ", table.to_string(),
              ", expected f32(vocabulary, dim)");
  check_input(ids.dtype == DType::kI32 && ids.shape.rank() < Shape::kMaxRank, "ids are ",
              ids.to_string(), ", expected i32 of at most ", Shape::kMaxRank - 1, " axes");
  return {{DType::kF32, ids.shape.append(table.shape[1]), nullptr}};
}

void EmbeddingOp::gradient(Backward& backward) const {
  if (!backward.wants(0) || backward.cotangent(0) == kNoValue) return;
  const std::int64_t vocabulary = backward.graph().type(backward.input(0)).shape[0];
  backward.accumulate(
      0, backward.graph().add(std::make_shared<EmbeddingBackwardOp>(vocabulary),
                              {backward.cotangent(0), backward.input(1)}, backward.name()));
}

std::string EmbeddingBackwardOp::attributes() const {
  return text("vocabulary=", vocabulary_);
}

std::vector<TensorType> EmbeddingBackwardOp::infer(std::span<const TensorType> inputs) const {
  check_input(inputs.size() == 2, "takes 2 inputs, got ", inputs.size());
  const TensorType &dy = inputs[0], &ids = inputs[1];
  check_input(dy.dtype == DType::kF32 && dy.shape.rank() >= 1, "gradient is ", dy.to_string(),
              ", expected f32(..., dim)");
  check_input(ids.dtype == DType::kI32 && dy.shape.slice(0, dy.shape.rank() - 1) == ids.shape,
              "ids are ", ids.to_string(), ", expected i32",
              dy.shape.slice(0, dy.shape.rank() - 1));
  return {{DType::kF32, {vocabulary_, dy.shape[-1]}, nullptr}};
}

double EmbeddingBackwardOp::flops(std::span<const TensorType> inputs,
                                  std::span<const TensorType>) const {
  return static_cast<double>(inputs[0].elements());
}

ValueId embedding(Graph& graph, ValueId table, ValueId ids, const std::string& name) {
  return graph.add(std::make_shared<EmbeddingOp>(), {table, ids}, name);
}

}  // namespace lockstep
