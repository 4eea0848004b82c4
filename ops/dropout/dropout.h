// Inverted dropout: y = x / (1 - rate) with probability 1 - rate, else 0. N. Srivastava et al.,
// JMLR 15, 2014.
//
// Whether element e of a sample is kept is a pure function of (seed, stream, step, number of the
// sample, e): RandomStream(seed, Purpose::kDropout, stream).uniform(step, sample, e) >= rate. So it
// does not depend on ranks, batches or threads, and the gradient, the same op applied to dy, draws
// the mask again instead of keeping it.
#pragma once

#include <string>

#include "core/graph/graph.h"
#include "core/kernel/kernel.h"

namespace lockstep {

// Inputs: x (batch, ...) f32 or bf16; step i64(); sample i64(batch), the number of each sample in
// its dataset.
class DropoutOp final : public Op {
 public:
  // REQUIRES: 0 <= rate < 1 (bad_input otherwise).
  DropoutOp(double rate, std::uint64_t seed, std::uint32_t stream);
  std::string_view name() const override { return "dropout"; }
  std::string attributes() const override;
  std::vector<TensorType> infer(std::span<const TensorType> inputs) const override;
  Traits traits() const override { return {.may_overwrite = 0, .precision = Precision::kFollow}; }
  void gradient(Backward& backward) const override;
  double flops(std::span<const TensorType> inputs,
               std::span<const TensorType> outputs) const override;
  double rate() const { return rate_; }
  std::uint64_t seed() const { return seed_; }
  std::uint32_t stream() const { return stream_; }

 private:
  double rate_;
  std::uint64_t seed_;
  std::uint32_t stream_;
};

struct DropoutSource {
  ValueId step = kNoValue, sample = kNoValue;
  std::uint64_t seed = 0;
  std::uint32_t stream = 0;  // tells apart the dropouts of a model; 24 bits
};

ValueId dropout(Graph& graph, ValueId x, double rate, const DropoutSource& source,
                const std::string& name = "");

void register_dropout_cpu(KernelRegistry& registry);
void register_dropout_cuda(KernelRegistry& registry);

}  // namespace lockstep
