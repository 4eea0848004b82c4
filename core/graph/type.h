// The type of a value: element type, shape, and (inside a Plan) the order of its elements in memory.
#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include "core/base/dtype.h"
#include "core/base/shape.h"

namespace lockstep {

// An order of elements other than row-major, chosen by a kernel (oneDNN's blocked formats). Opaque to
// the graph: only the backend that made it looks inside. Immutable.
class Layout {
 public:
  virtual ~Layout() = default;
  virtual std::size_t bytes() const = 0;
  // True where the memory holds elements that are not of the tensor (a blocked axis that was filled up).
  virtual bool padded() const = 0;
  virtual bool equals(const Layout& other) const = 0;
  virtual std::string name() const = 0;  // "aBcd16b"
};

struct TensorType {
  DType dtype = DType::kF32;
  Shape shape;
  std::shared_ptr<const Layout> layout = nullptr;  // null: row-major

  std::int64_t elements() const { return shape.elements(); }
  std::size_t bytes() const;
  bool operator==(const TensorType& other) const;
  std::string to_string() const;  // "f32(32, 10)", "f32(32, 8, 8, 16):aBcd16b"
};

// Equal layouts; two nulls are equal.
bool same_layout(const std::shared_ptr<const Layout>& a, const std::shared_ptr<const Layout>& b);

}  // namespace lockstep
