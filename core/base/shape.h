// The extents of a tensor, outermost first, row-major. At most kMaxRank dimensions, kept inline.
// A shape of rank 0 is a scalar (one element); an extent of 0 is allowed (no elements).
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>

namespace lockstep {

class Shape {
 public:
  static constexpr int kMaxRank = 8;
  static constexpr std::int64_t kMostElements = std::int64_t{1} << 48;

  Shape() = default;
  Shape(std::initializer_list<std::int64_t> dims);
  explicit Shape(std::span<const std::int64_t> dims);

  int rank() const { return rank_; }
  // Extent of `axis`; negative axes count from the end (-1 is the last).
  std::int64_t operator[](int axis) const { return dims_[index(axis)]; }
  std::span<const std::int64_t> dims() const { return {dims_.data(), std::size_t(rank_)}; }
  // Throws bad_input where they are more than kMostElements.
  std::int64_t elements() const;
  // Product of the extents in [begin, end).
  std::int64_t elements(int begin, int end) const;

  // A copy with one extent changed, appended, or with the extents [begin, end) kept.
  Shape with(int axis, std::int64_t extent) const;
  Shape append(std::int64_t extent) const;
  Shape slice(int begin, int end) const;

  bool operator==(const Shape& other) const;
  std::string to_string() const;  // "(32, 10)"

 private:
  int index(int axis) const;

  std::array<std::int64_t, kMaxRank> dims_{};
  int rank_ = 0;
};

std::ostream& operator<<(std::ostream& out, const Shape& shape);

// The shape that `a` and `b` broadcast to by NumPy's rule. Throws bad_input where they do not.
Shape broadcast(const Shape& a, const Shape& b);

}  // namespace lockstep
