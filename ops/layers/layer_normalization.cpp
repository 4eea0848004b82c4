#include "ops/layers/layer_normalization.h"

#include <algorithm>

#include "core/base/error.h"
#include "core/builtin/builtin.h"
#include "ops/layer_norm/layer_norm.h"

namespace lockstep {
namespace {

class LayerNormalizationLayer final : public Layer {
 public:
  explicit LayerNormalizationLayer(const LayerNormalizationOptions& options) : options_(options) {}
  std::string kind() const override { return "layer_normalization"; }

  ValueId build(LayerContext& context, std::span<const ValueId> inputs) const override {
    const ValueId x = single_input(context, kind(), inputs);
    Graph& graph = context.graph;
    const Shape features = features_of(graph.type(x).shape, context.layer);
    auto parameter = [&](const char* name, bool trained, double initial) {
      if (!trained) return fill(graph, {DType::kF32, features, nullptr}, initial);
      return context.parameter(name, features, {.kind = "constant", .value = initial}, false);
    };
    const ValueId gamma = parameter("gamma", options_.scale, 1.0);
    const ValueId beta = parameter("beta", options_.center, 0.0);
    return layer_norm(graph, x, gamma, beta, options_.epsilon, context.node_name(""));
  }

 private:
  // The extents of the axes, which must be the last ones of the input.
  Shape features_of(const Shape& input, const std::string& layer) const {
    std::vector<std::int64_t> axes = options_.axis;
    for (std::int64_t& axis : axes) axis += axis < 0 ? input.rank() : 0;
    std::ranges::sort(axes);
    const auto count = static_cast<int>(axes.size()), first = input.rank() - count;
    bool are_last = first >= 1;
    for (int i = 0; i < count; ++i) are_last &= axes[i] == first + i;
    std::string shown;
    for (const std::int64_t axis : options_.axis) shown += text(shown.empty() ? "" : ", ", axis);
    check_input(are_last, layer, " (", kind(), "): axis ", shown, " of input ", input,
                ", expected the last axis, or several that are the last ones, without the batch");
    return input.slice(first, input.rank());
  }

  LayerNormalizationOptions options_;
};

}  // namespace

LayerPtr layer_normalization(const LayerNormalizationOptions& options) {
  check_input(!options.axis.empty(),
              "layer_normalization: axis is empty, expected one axis or more");
  check_input(options.epsilon > 0, "layer_normalization: epsilon is ", options.epsilon,
              ", expected a number above 0");
  return std::make_shared<LayerNormalizationLayer>(options);
}

void register_layer_normalization_layer(LayerRegistry& registry) {
  registry.add("layer_normalization", [](Settings& settings) {
    LayerNormalizationOptions options;
    options.axis = settings.integer_list("axis", options.axis);
    if (options.axis.empty()) settings.refuse("axis", "is empty, expected one axis or more");
    options.epsilon = settings.real("epsilon", options.epsilon);
    if (!(options.epsilon > 0)) {
      settings.refuse("epsilon", text("is ", options.epsilon, ", expected a number above 0"));
    }
    options.center = settings.boolean("center", options.center);
    options.scale = settings.boolean("scale", options.scale);
    return layer_normalization(options);
  });
}

}  // namespace lockstep
