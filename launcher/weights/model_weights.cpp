#include "launcher/weights/model_weights.h"

#include "core/base/error.h"
#include "launcher/checkpoint/tensor_fit.h"

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
  std::map<std::string, Shape> there;
  for (const auto& [name, weight] : weights) there[name] = weight.shape;
  const TensorFit fit(there, shapes_of(model));
  check_input(fit.fits(), where, ": are not the weights of this model: ", fit.to_string());
}

}  // namespace lockstep
