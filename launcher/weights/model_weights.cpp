#include "launcher/weights/model_weights.h"

#include "core/base/error.h"

namespace lockstep {
namespace {

std::map<std::string, Shape> shapes_of(const ModelGraph& model) {
  std::map<std::string, Shape> out;
  for (const ParameterSpec& parameter : model.parameters) out[parameter.name] = parameter.shape;
  for (const StatisticSpec& statistic : model.statistics) out[statistic.name] = statistic.shape;
  return out;
}

}  // namespace

void check_weights(const std::string& where, const Weights& weights, const ModelGraph& model) {
  const std::map<std::string, Shape> expected = shapes_of(model);
  std::string missing, other, extra;
  const auto list = [](std::string& to, const auto&... parts) { to += text(to.empty() ? "" : ", ", parts...); };
  for (const auto& [name, shape] : expected) {
    const auto found = weights.find(name);
    if (found == weights.end()) {
      list(missing, '"', name, "\" ", shape);
    } else if (found->second.shape != shape) {
      list(other, '"', name, "\" is ", found->second.shape, ", the model's is ", shape);
    }
  }
  for (const auto& [name, weight] : weights) {
    if (!expected.contains(name)) list(extra, '"', name, "\" ", weight.shape);
  }
  std::string all;
  if (!missing.empty()) list(all, "missing: ", missing);
  if (!other.empty()) all += text(all.empty() ? "" : "; ", "of another shape: ", other);
  if (!extra.empty()) all += text(all.empty() ? "" : "; ", "not in the model: ", extra);
  check_input(all.empty(), where, ": are not the weights of this model: ", all);
}

}  // namespace lockstep
