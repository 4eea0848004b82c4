// A chain of elementwise ops as one op: one pass over memory instead of one for each.
//
// Members are activations and their gradients, arithmetic (ops/binary), bias, accumulate and casts
// between f32 and bf16. Every result has the shape of the chain's result; an input of the chain has
// that shape too, or is one number, or a vector along the last axis. The bits are those of the ops
// one after another.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/graph/graph.h"
#include "core/kernel/kernel.h"
#include "core/passes/fuse.h"

namespace lockstep {

struct ChainStep {
  std::shared_ptr<const Op> op;
  // By operand of the op: i < inputs is input i of the chain, inputs + k the result of step k.
  std::vector<int> operands;
};

// How an input of a chain meets the elements of the result.
enum class ChainInput {
  kFull,    // one element for each
  kScalar,  // one for all
  kVector,  // one for each place on the last axis
};

// Made by the fusion pattern, after differentiation; has no gradient of its own.
class ElementwiseChainOp final : public Op {
 public:
  static constexpr std::size_t kMostSteps = 16, kMostInputs = 12;

  // The last step's result is that of the chain. Throws broken_invariant for steps that cannot be
  // members.
  ElementwiseChainOp(std::vector<TensorType> inputs, std::vector<ChainStep> steps);
  std::string_view name() const override { return "elementwise_chain"; }
  std::string attributes() const override;
  std::vector<TensorType> infer(std::span<const TensorType> inputs) const override;
  Traits traits() const override { return traits_; }
  double flops(std::span<const TensorType> inputs,
               std::span<const TensorType> outputs) const override;

  const std::vector<TensorType>& inputs() const { return inputs_; }
  const std::vector<ChainStep>& steps() const { return steps_; }
  // Types of the steps' results.
  const std::vector<TensorType>& results() const { return results_; }
  // REQUIRES: i < inputs().size()
  ChainInput input_kind(std::size_t i) const;

 private:
  std::vector<TensorType> inputs_;
  std::vector<ChainStep> steps_;
  std::vector<TensorType> results_;
  Traits traits_;
};

void register_elementwise_chain_cpu(KernelRegistry& registry);
void register_elementwise_chain_cuda(KernelRegistry& registry);

// Grows a chain of two or more nodes from its last one backwards, through values that nobody else
// reads.
std::vector<FusionPattern> elementwise_chain_fusions();

}  // namespace lockstep
