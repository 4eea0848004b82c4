#include "launcher/weights/difference.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <set>

#include "core/base/error.h"

namespace lockstep {
namespace {

void compare_values(const std::vector<float>& a, const std::vector<float>& b, TensorDifference& out) {
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (std::bit_cast<std::uint32_t>(a[i]) == std::bit_cast<std::uint32_t>(b[i])) continue;
    ++out.elements;
    if (std::isnan(a[i]) && std::isnan(b[i])) continue;
    const double difference = std::abs(static_cast<double>(a[i]) - static_cast<double>(b[i]));
    if (!(difference <= out.largest)) out.largest = std::isnan(out.largest) ? out.largest : difference;
  }
  if (out.elements > 0) out.kind = TensorDifference::Kind::kValues;
}

TensorDifference compare(const std::string& name, const TensorSource& a, const TensorSource& b) {
  using Kind = TensorDifference::Kind;
  const auto in_a = a.shapes.find(name), in_b = b.shapes.find(name);
  TensorDifference out{.name = name};
  if (in_a != a.shapes.end()) out.a = in_a->second;
  if (in_b != b.shapes.end()) out.b = in_b->second;
  if (in_a == a.shapes.end() || in_b == b.shapes.end()) {
    out.kind = in_b == b.shapes.end() ? Kind::kOnlyA : Kind::kOnlyB;
  } else if (out.a != out.b) {
    out.kind = Kind::kShape;
  } else {
    compare_values(a.read(name), b.read(name), out);
  }
  return out;
}

}  // namespace

void compare_tensors(const TensorSource& a, const TensorSource& b,
                     const std::function<void(const TensorDifference&)>& each) {
  std::set<std::string> names;
  for (const auto* source : {&a, &b}) {
    for (const auto& [name, shape] : source->shapes) names.insert(name);
  }
  for (const std::string& name : names) each(compare(name, a, b));
}

std::string to_string(const TensorDifference& difference) {
  const auto& [name, kind, a, b, largest, elements] = difference;
  switch (kind) {
    case TensorDifference::Kind::kEqual:
      return text(name, " ", a, ": equal");
    case TensorDifference::Kind::kValues:
      return text(name, " ", a, ": max abs difference ", largest, ", ", elements, " of ", a.elements(), " elements");
    case TensorDifference::Kind::kShape:
      return text(name, ": shape ", a, " and ", b);
    case TensorDifference::Kind::kOnlyA:
      return text(name, " ", a, ": only in the first");
    case TensorDifference::Kind::kOnlyB:
      return text(name, " ", b, ": only in the second");
  }
  broken_invariant("a difference of no known kind");
}

}  // namespace lockstep
