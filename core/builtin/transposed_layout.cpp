#include "core/builtin/transposed_layout.h"

#include "core/base/error.h"

namespace lockstep {

TransposedLayout::TransposedLayout(const TensorType& type)
    : shape_(type.shape), bytes_(static_cast<std::size_t>(type.elements()) * size_of(type.dtype)) {
  require(type.shape.rank() >= 1, "a scalar has no transposed layout");
}

bool TransposedLayout::equals(const Layout& other) const {
  const auto* transposed = dynamic_cast<const TransposedLayout*>(&other);
  return transposed != nullptr && transposed->shape_ == shape_ && transposed->bytes_ == bytes_;
}

TensorType transposed(const TensorType& type) {
  return {type.dtype, type.shape, std::make_shared<TransposedLayout>(type)};
}

bool is_transposed(const TensorType& type) {
  return dynamic_cast<const TransposedLayout*>(type.layout.get()) != nullptr;
}

}  // namespace lockstep
