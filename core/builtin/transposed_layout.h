// The layout of GPUs' convolution weights: the last axis outermost, the others as they are.
//
// A tensor (kh, kw, in, out) lies as (out, kh, kw, in): as a matrix of all axes but the last by the last one, transposed.
#pragma once

#include "core/graph/type.h"

namespace lockstep {

class TransposedLayout final : public Layout {
 public:
  // REQUIRES: `type` has an axis.
  explicit TransposedLayout(const TensorType& type);
  std::size_t bytes() const override { return bytes_; }
  bool padded() const override { return false; }
  bool equals(const Layout& other) const override;
  std::string name() const override { return "transposed"; }

 private:
  Shape shape_;
  std::size_t bytes_;
};

// `type` in this layout.
TensorType transposed(const TensorType& type);
bool is_transposed(const TensorType& type);

}  // namespace lockstep
