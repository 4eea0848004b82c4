#include "core/base/shape.h"

#include <algorithm>
#include <ostream>

#include "core/base/error.h"

namespace lockstep {

Shape::Shape(std::initializer_list<std::int64_t> dims)
    : Shape(std::span<const std::int64_t>(dims.begin(), dims.size())) {}

Shape::Shape(std::span<const std::int64_t> dims) : rank_(static_cast<int>(dims.size())) {
  check_input(dims.size() <= kMaxRank, "a tensor of ", dims.size(), " dimensions: at most ",
              kMaxRank, " are supported");
  std::copy(dims.begin(), dims.end(), dims_.begin());
  for (const std::int64_t extent : dims) {
    check_input(extent >= 0, "a tensor extent is ", extent, ", expected 0 or more");
  }
}

int Shape::index(int axis) const {
  const int at = axis < 0 ? axis + rank_ : axis;
  require(at >= 0 && at < rank_, "axis ", axis, " of a shape of rank ", rank_);
  return at;
}

std::int64_t Shape::elements() const { return elements(0, rank_); }

std::int64_t Shape::elements(int begin, int end) const {
  std::int64_t product = 1;
  bool fits = true;
  for (int axis = begin; axis < end; ++axis) fits = !__builtin_mul_overflow(product, dims_[axis], &product) && fits;
  check_input(fits && product <= kMostElements, "a tensor of shape ", *this, " has more elements than any memory");
  return product;
}

Shape Shape::with(int axis, std::int64_t extent) const {
  Shape copy = *this;
  copy.dims_[index(axis)] = extent;
  return copy;
}

Shape Shape::append(std::int64_t extent) const {
  require(rank_ < kMaxRank, "append to a shape of rank ", rank_);
  Shape copy = *this;
  copy.dims_[copy.rank_++] = extent;
  return copy;
}

Shape Shape::slice(int begin, int end) const {
  return Shape(dims().subspan(begin, end - begin));
}

bool Shape::operator==(const Shape& other) const {
  return std::ranges::equal(dims(), other.dims());
}

std::string Shape::to_string() const {
  std::string out = "(";
  for (int axis = 0; axis < rank_; ++axis) {
    if (axis > 0) out += ", ";
    out += std::to_string(dims_[axis]);
  }
  return out + ")";
}

std::ostream& operator<<(std::ostream& out, const Shape& shape) {
  return out << shape.to_string();
}

Shape broadcast(const Shape& a, const Shape& b) {
  const int rank = std::max(a.rank(), b.rank());
  std::array<std::int64_t, Shape::kMaxRank> dims{};
  for (int i = 1; i <= rank; ++i) {
    const std::int64_t x = i <= a.rank() ? a[-i] : 1;
    const std::int64_t y = i <= b.rank() ? b[-i] : 1;
    check_input(x == y || x == 1 || y == 1, "shapes ", a, " and ", b, " do not broadcast: ", x,
                " and ", y, " at axis -", i);
    dims[rank - i] = x == 1 ? y : x;
  }
  return Shape(std::span<const std::int64_t>(dims.data(), rank));
}

}  // namespace lockstep
