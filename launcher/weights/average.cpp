#include "launcher/weights/average.h"

#include "core/base/error.h"

namespace lockstep {
namespace {

// Throws bad_input naming a tensor that only one has, or that has another shape.
void check_alike(const TensorSource& a, const TensorSource& b) {
  for (const auto& [one, other] : {std::pair(&a, &b), std::pair(&b, &a)}) {
    for (const auto& [name, shape] : one->shapes) {
      const auto found = other->shapes.find(name);
      check_input(found != other->shapes.end(), other->path, ": has no tensor \"", name, "\", ", one->path, " has one: no mean of the two");
      check_input(found->second == shape, other->path, ": tensor \"", name, "\" is ", found->second, ", that of ", one->path, " is ", shape,
                  ": no mean of the two");
    }
  }
}

}  // namespace

Weights average(const std::vector<TensorSource>& sources) {
  require(!sources.empty(), "the mean of no weights");
  for (const TensorSource& source : sources) check_alike(sources.front(), source);
  Weights out;
  for (const auto& [name, shape] : sources.front().shapes) {
    std::vector<double> sum(static_cast<std::size_t>(shape.elements()), 0.0);
    for (const TensorSource& source : sources) {
      const std::vector<float> values = source.read(name);
      for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += static_cast<double>(values[i]);
    }
    Weight& mean = out[name];
    mean.shape = shape;
    for (const double value : sum) mean.values.push_back(static_cast<float>(value / static_cast<double>(sources.size())));
  }
  return out;
}

}  // namespace lockstep
