// Embedding: rows of a table by number, y (..., d) = table (v, d) [ids (...)].
//
// The table is a parameter and stays f32; ids are i32. Data with ids outside [0, v) is refused
// before a run by whoever feeds it; should one come through, the kernel reads no memory for it: its
// row of y is NaN, and its row of dy counts for nothing.
#pragma once

#include <string>

#include "core/graph/graph.h"
#include "core/kernel/kernel.h"

namespace lockstep {

class OnnxRegistry;

// Inputs: table f32(v, d), ids i32(...).
class EmbeddingOp final : public Op {
 public:
  std::string_view name() const override { return "embedding"; }
  std::vector<TensorType> infer(std::span<const TensorType> inputs) const override;
  Traits traits() const override { return {.precision = Precision::kFull}; }
  void gradient(Backward& backward) const override;
};

// The gradient of the table, f32(v, d), from dy f32(..., d) and ids: rows of dy are added up in the
// order of the ids.
class EmbeddingBackwardOp final : public Op {
 public:
  explicit EmbeddingBackwardOp(std::int64_t vocabulary) : vocabulary_(vocabulary) {}
  std::string_view name() const override { return "embedding_backward"; }
  std::string attributes() const override;
  std::vector<TensorType> infer(std::span<const TensorType> inputs) const override;
  Traits traits() const override { return {.precision = Precision::kFull}; }
  double flops(std::span<const TensorType> inputs,
               std::span<const TensorType> outputs) const override;
  std::int64_t vocabulary() const { return vocabulary_; }

 private:
  std::int64_t vocabulary_;
};

ValueId embedding(Graph& graph, ValueId table, ValueId ids, const std::string& name = "");

void register_embedding_cpu(KernelRegistry& registry);
void register_embedding_cuda(KernelRegistry& registry);
void register_embedding_onnx(OnnxRegistry& registry);

}  // namespace lockstep
