#include "ops/layers/layer.h"

#include <algorithm>

#include "core/base/error.h"

namespace lockstep {

// ---- LayerContext ------------------------------------------------------------------------------

ValueId LayerContext::parameter(const std::string& name, const Shape& shape,
                                const Initializer& initializer, bool decays) {
  const std::string full = node_name(name);
  try {
    static_cast<void>(shape.elements());  // refuses more than there can be
    initializer.check(shape);
  } catch (const Error& error) {
    throw Error(error.kind(), text(full, " (parameter): ", error.what()));
  }
  const ValueId value = graph.state(full, {DType::kF32, shape, nullptr});
  parameters.push_back({full, shape, initializer, decays, trainable});
  return value;
}

ValueId LayerContext::statistic(const std::string& name, const Shape& shape, float initial,
                                double momentum) {
  const std::string full = node_name(name);
  const ValueId value = graph.state(full, {DType::kF32, shape, nullptr});
  statistics.push_back({full, shape, initial, momentum, kNoValue, trainable});
  return value;
}

void LayerContext::set_batch_value(const std::string& name, ValueId value) {
  const std::string full = node_name(name);
  const auto spec = std::ranges::find(statistics, full, &StatisticSpec::name);
  require(spec != statistics.end(), full, ": a batch value without a statistic");
  const TensorType& type = graph.type(value);
  require(type.dtype == DType::kF32 && type.shape == spec->shape, full, ": the batch value is ",
          type.to_string(), ", the statistic f32", spec->shape);
  spec->batch_value = value;
}

std::string LayerContext::node_name(const std::string& name) const {
  return name.empty() ? layer : layer + "/" + name;
}

// FNV-1a, 32 bits, folded to 24 (G. Fowler, L. Noll, K. Vo).
std::uint32_t LayerContext::random_stream() const {
  std::uint32_t hash = 0x811c9dc5u;
  for (const char c : layer) hash = (hash ^ static_cast<unsigned char>(c)) * 0x01000193u;
  return (hash >> 24) ^ (hash & 0xffffffu);
}

// ---- Layer -------------------------------------------------------------------------------------

ValueId single_input(const LayerContext& context, const std::string& kind,
                     std::span<const ValueId> inputs) {
  check_input(inputs.size() == 1, context.layer, " (", kind, "): takes 1 input, got ",
              inputs.size());
  return inputs[0];
}

// ---- LayerRegistry -----------------------------------------------------------------------------

void LayerRegistry::add(const std::string& kind, Maker maker) {
  require(maker != nullptr, "layer ", kind, ": registered without a maker");
  require(makers_.emplace(kind, std::move(maker)).second, "layer ", kind, ": registered twice");
}

LayerPtr LayerRegistry::make(Settings& settings) const {
  const std::string kind = settings.word("type");
  const auto maker = makers_.find(kind);
  if (maker != makers_.end()) {
    try {
      return maker->second(settings);
    } catch (const Error& error) {
      // What is wrong with a key has its place already; what is wrong with the layer gets it here.
      const std::string message = error.what();
      if (message.find(settings.path() + ".") != std::string::npos) throw;
      throw Error(error.kind(), text(settings.place(), settings.place().empty() ? "" : ": ", settings.path(), ": ", message));
    }
  }
  const std::string nearest = nearest_name(kind, kinds());
  std::string valid;
  for (const std::string& name : kinds()) valid += (valid.empty() ? "" : ", ") + name;
  settings.refuse("type", text('"', kind, "\" is not a layer; ",
                               nearest.empty() ? text("valid: ", valid)
                                               : text("did you mean \"", nearest, "\"?")));
}

std::vector<std::string> LayerRegistry::kinds() const {
  std::vector<std::string> out;
  for (const auto& [kind, maker] : makers_) out.push_back(kind);
  return out;
}

}  // namespace lockstep
