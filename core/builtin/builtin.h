// The few ops that passes and lowering need themselves: fill, cast, accumulate, copy, view, pack.
// Everything else is a room in ops/.
#pragma once

#include "core/graph/graph.h"
#include "core/kernel/kernel.h"

namespace lockstep {

// A tensor of that type with every element equal to `value`.
class FillOp final : public Op {
 public:
  FillOp(TensorType type, double value) : type_(std::move(type)), value_(value) {}
  std::string_view name() const override { return "fill"; }
  std::string attributes() const override;
  std::vector<TensorType> infer(std::span<const TensorType> inputs) const override;
  Traits traits() const override { return {.precision = Precision::kAsIs}; }
  double value() const { return value_; }

 private:
  TensorType type_;
  double value_;
};

// The same numbers in another floating-point type (f32 and bf16; rounds to nearest even).
class CastOp final : public Op {
 public:
  explicit CastOp(DType to) : to_(to) {}
  std::string_view name() const override { return "cast"; }
  std::string attributes() const override;
  std::vector<TensorType> infer(std::span<const TensorType> inputs) const override;
  Traits traits() const override {
    return {.elementwise = true, .keeps_zero = true, .precision = Precision::kAsIs};
  }
  void gradient(Backward& backward) const override;
  DType to() const { return to_; }

 private:
  DType to_;
};

// a + b for equal types; the sum may be computed in the memory of a. Sums of gradients.
class AccumulateOp final : public Op {
 public:
  std::string_view name() const override { return "accumulate"; }
  std::vector<TensorType> infer(std::span<const TensorType> inputs) const override;
  Traits traits() const override {
    return {.elementwise = true,
            .keeps_zero = true,
            .may_overwrite = 0,
            .precision = Precision::kFollow};
  }
  void gradient(Backward& backward) const override;
};

// The same bytes in other memory.
class CopyOp final : public Op {
 public:
  std::string_view name() const override { return "copy"; }
  std::vector<TensorType> infer(std::span<const TensorType> inputs) const override;
  Traits traits() const override {
    return {.elementwise = true, .keeps_zero = true, .precision = Precision::kAsIs};
  }
  void gradient(Backward& backward) const override;
};

// `shape.elements()` elements of x from element `offset` on (row-major), in the memory of x. At
// offset 0 x may have any type, else one with elements as large as those of `dtype` (the trait
// view_offset counts bytes).
class ViewOp final : public Op {
 public:
  ViewOp(Shape shape, std::int64_t offset, DType dtype)
      : shape_(shape), offset_(offset), element_bytes_(size_of(dtype)) {}
  std::string_view name() const override { return "view"; }
  std::string attributes() const override;
  std::vector<TensorType> infer(std::span<const TensorType> inputs) const override;
  Traits traits() const override {
    return {.view = true,
            .view_offset = static_cast<std::size_t>(offset_) * element_bytes_,
            .precision = offset_ == 0 ? Precision::kAsIs : Precision::kFull};
  }
  // Of a view of all elements (a reshape) only; a part of a value receives no gradient.
  void gradient(Backward& backward) const override;
  const Shape& shape() const { return shape_; }
  std::int64_t offset() const { return offset_; }

 private:
  Shape shape_;
  std::int64_t offset_;
  std::size_t element_bytes_;
};

// The elements of all inputs (one dtype) one after another: a vector. Producers write there
// directly.
class PackOp final : public Op {
 public:
  std::string_view name() const override { return "pack"; }
  std::vector<TensorType> infer(std::span<const TensorType> inputs) const override;
  Traits traits() const override { return {.pack = true, .precision = Precision::kFollow}; }
};

ValueId fill(Graph& graph, const TensorType& type, double value, const std::string& name = "");
// x itself where it has the type already.
ValueId cast(Graph& graph, ValueId x, DType to, const std::string& name = "");
ValueId accumulate(Graph& graph, ValueId a, ValueId b, const std::string& name = "");
ValueId copy(Graph& graph, ValueId x, const std::string& name = "");
// x itself where it has the shape and the offset is 0.
ValueId view(Graph& graph, ValueId x, const Shape& shape, std::int64_t offset = 0,
             const std::string& name = "");
ValueId pack(Graph& graph, const std::vector<ValueId>& values, const std::string& name = "");

// CPU kernels of the ops above (all but view, which never runs; pack runs where a producer could
// not write in place).
void register_builtin_cpu(KernelRegistry& registry);
void register_builtin_cuda(KernelRegistry& registry);

}  // namespace lockstep
