// Arithmetic of two tensors with NumPy's broadcasting: add, subtract, multiply, divide; and the
// product with a constant (scale). f32 or bf16, both inputs of one type; the arithmetic is f32.
// Division is that of IEEE: x / 0 is infinite, 0 / 0 NaN.
//
// The gradient of a broadcast input is summed over the axes along which it was repeated
// (ops/reduce).
#pragma once

#include <string>

#include "core/graph/graph.h"
#include "core/kernel/kernel.h"

namespace lockstep {

class OnnxRegistry;

enum class BinaryKind { kAdd, kSubtract, kMultiply, kDivide };

// What is known of the shapes when the op is made; it decides the traits.
enum class BinaryShapes {
  kSame,       // elementwise
  kFirstFull,  // the result has the shape of the first input: it may be computed in its memory
  kBroadcast,  // anything that broadcasts
};

class BinaryOp final : public Op {
 public:
  BinaryOp(BinaryKind kind, BinaryShapes shapes) : kind_(kind), shapes_(shapes) {}
  std::string_view name() const override;
  std::vector<TensorType> infer(std::span<const TensorType> inputs) const override;
  Traits traits() const override;
  void gradient(Backward& backward) const override;
  BinaryKind kind() const { return kind_; }

 private:
  BinaryKind kind_;
  BinaryShapes shapes_;
};

// y = factor * x.
class ScaleOp final : public Op {
 public:
  explicit ScaleOp(double factor) : factor_(factor) {}
  std::string_view name() const override { return "scale"; }
  std::string attributes() const override;
  std::vector<TensorType> infer(std::span<const TensorType> inputs) const override;
  Traits traits() const override {
    return {.elementwise = true,
            .keeps_zero = true,
            .may_overwrite = 0,
            .precision = Precision::kFollow};
  }
  void gradient(Backward& backward) const override;
  double factor() const { return factor_; }

 private:
  double factor_;
};

ValueId binary(Graph& graph, BinaryKind kind, ValueId a, ValueId b, const std::string& name = "");
ValueId add(Graph& graph, ValueId a, ValueId b, const std::string& name = "");
ValueId subtract(Graph& graph, ValueId a, ValueId b, const std::string& name = "");
ValueId multiply(Graph& graph, ValueId a, ValueId b, const std::string& name = "");
ValueId divide(Graph& graph, ValueId a, ValueId b, const std::string& name = "");
// REQUIRES: a finite factor (bad_input otherwise).
ValueId scale(Graph& graph, ValueId x, double factor, const std::string& name = "");

void register_binary_cpu(KernelRegistry& registry);
void register_binary_cuda(KernelRegistry& registry);
void register_binary_onnx(OnnxRegistry& registry);

}  // namespace lockstep
