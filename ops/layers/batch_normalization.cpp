#include "ops/layers/batch_normalization.h"

#include "core/base/error.h"
#include "core/builtin/builtin.h"
#include "ops/batch_norm/batch_norm.h"

namespace lockstep {
namespace {

bool is_momentum(double momentum) {
  return momentum >= 0 && momentum <= 1;
}

class BatchNormalizationLayer final : public Layer {
 public:
  explicit BatchNormalizationLayer(const BatchNormalizationOptions& options) : options_(options) {}
  std::string kind() const override { return "batch_normalization"; }

  ValueId build(LayerContext& context, std::span<const ValueId> inputs) const override {
    const ValueId x = single_input(context, kind(), inputs);
    Graph& graph = context.graph;
    const Shape input = graph.type(x).shape;
    check_input(input.rank() >= 2, context.layer, " (", kind(), "): input ", input,
                " has no channels, expected (batch, ..., channels)");
    const Shape channels{input[-1]};
    auto parameter = [&](const char* name, bool trained, double initial) {
      if (!trained) return fill(graph, {DType::kF32, channels, nullptr}, initial);
      return context.parameter(name, channels, {.kind = "constant", .value = initial}, false);
    };
    const ValueId gamma = parameter("gamma", options_.scale, 1.0);
    const ValueId beta = parameter("beta", options_.center, 0.0);
    const ValueId mean = context.statistic("moving_mean", channels, 0.0f, options_.momentum);
    const ValueId variance =
        context.statistic("moving_variance", channels, 1.0f, options_.momentum);
    const std::string node = context.node_name("");
    if (!context.training || !context.trainable) {
      return batch_norm_inference(graph, x, gamma, beta, mean, variance, options_.epsilon, node);
    }
    const BatchNormResult result =
        options_.synchronized ? synchronized_batch_norm(graph, x, gamma, beta, options_.epsilon, node)
                              : batch_norm(graph, x, gamma, beta, options_.epsilon, node);
    context.set_batch_value("moving_mean", result.mean);
    context.set_batch_value("moving_variance", result.variance);
    return result.y;
  }

 private:
  BatchNormalizationOptions options_;
};

}  // namespace

LayerPtr batch_normalization(const BatchNormalizationOptions& options) {
  check_input(is_momentum(options.momentum), "batch_normalization: momentum is ", options.momentum,
              ", expected 0 <= momentum <= 1");
  check_input(options.epsilon > 0, "batch_normalization: epsilon is ", options.epsilon,
              ", expected a number above 0");
  return std::make_shared<BatchNormalizationLayer>(options);
}

void register_batch_normalization_layer(LayerRegistry& registry) {
  registry.add("batch_normalization", [](Settings& settings) {
    BatchNormalizationOptions options;
    options.momentum = settings.real("momentum", options.momentum);
    if (!is_momentum(options.momentum)) {
      settings.refuse("momentum", text("is ", options.momentum, ", expected 0 <= momentum <= 1"));
    }
    options.epsilon = settings.real("epsilon", options.epsilon);
    if (!(options.epsilon > 0)) {
      settings.refuse("epsilon", text("is ", options.epsilon, ", expected a number above 0"));
    }
    options.center = settings.boolean("center", options.center);
    options.scale = settings.boolean("scale", options.scale);
    options.synchronized = settings.boolean("synchronized", options.synchronized);
    return batch_normalization(options);
  });
}

}  // namespace lockstep
