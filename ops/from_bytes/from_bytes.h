// Bytes as numbers: y = (x - shift) * scale, f32 from u8, computed in double and rounded once. With one shift and scale
// for all, or one for each entry of the last axis. Images stay bytes until they are on the device: a quarter of the memory
// and of the copies.
//
// With the result in bf16, y is what a cast makes of the f32: the fused form of from_bytes and cast.
#pragma once

#include <string>
#include <vector>

#include "core/graph/graph.h"
#include "core/kernel/kernel.h"
#include "core/passes/fuse.h"

namespace lockstep {

class OnnxRegistry;

class FromBytesOp final : public Op {
 public:
  static constexpr std::size_t kMostFeatures = 16;

  // REQUIRES: as many shifts as scales, 1 .. kMostFeatures; `to` is f32 or bf16.
  FromBytesOp(std::vector<double> shift, std::vector<double> scale, DType to = DType::kF32)
      : shift_(std::move(shift)), scale_(std::move(scale)), to_(to) {}
  std::string_view name() const override { return "from_bytes"; }
  std::string attributes() const override;
  std::vector<TensorType> infer(std::span<const TensorType> inputs) const override;
  Traits traits() const override { return {.elementwise = shift_.size() == 1, .precision = Precision::kAsIs}; }
  double flops(std::span<const TensorType> inputs, std::span<const TensorType> outputs) const override;

  // What byte `byte` becomes at entry `feature` of the last axis, before it is rounded to bf16.
  float value(std::size_t feature, std::uint8_t byte) const {
    return static_cast<float>((static_cast<double>(byte) - shift_[feature]) * scale_[feature]);
  }
  std::size_t features() const { return shift_.size(); }
  const std::vector<double>& shift() const { return shift_; }
  const std::vector<double>& scale() const { return scale_; }
  DType to() const { return to_; }

 private:
  std::vector<double> shift_, scale_;
  DType to_;
};

// No shift and scale: y = x.
ValueId from_bytes(Graph& graph, ValueId x, const std::vector<double>& shift, const std::vector<double>& scale,
                   const std::string& name = "");

void register_from_bytes_cpu(KernelRegistry& registry);
void register_from_bytes_cuda(KernelRegistry& registry);
void register_from_bytes_onnx(OnnxRegistry& registry);
// from_bytes + cast to bf16.
std::vector<FusionPattern> from_bytes_fusions();

}  // namespace lockstep
