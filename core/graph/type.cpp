#include "core/graph/type.h"

namespace lockstep {

std::size_t TensorType::bytes() const {
  return layout ? layout->bytes() : static_cast<std::size_t>(elements()) * size_of(dtype);
}

bool TensorType::operator==(const TensorType& other) const {
  return dtype == other.dtype && shape == other.shape && same_layout(layout, other.layout);
}

std::string TensorType::to_string() const {
  std::string out = std::string(name_of(dtype)) + shape.to_string();
  if (layout) out += ":" + layout->name();
  return out;
}

bool same_layout(const std::shared_ptr<const Layout>& a, const std::shared_ptr<const Layout>& b) {
  if (!a || !b) return !a && !b;
  return a->equals(*b);
}

}  // namespace lockstep
