// How the tensors that there are differ from those that a model wants, in names and shapes.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "core/base/shape.h"

namespace lockstep {

class TensorFit {
 public:
  TensorFit(const std::map<std::string, Shape>& there, const std::map<std::string, Shape>& wanted);

  bool fits() const { return names_.empty(); }
  // Of all tensors that do not fit, sorted.
  const std::vector<std::string>& names() const { return names_; }
  // "missing: a (3), b (4) and 2 more; of another shape: c (2) (the model's is (5)); not in the model: d (1)"
  const std::string& to_string() const { return text_; }

 private:
  std::vector<std::string> names_;
  std::string text_;
};

}  // namespace lockstep
