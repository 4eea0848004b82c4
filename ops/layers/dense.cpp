#include "ops/layers/dense.h"

#include "core/base/error.h"
#include "ops/bias/bias.h"
#include "ops/dense/dense.h"
#include "ops/layers/read_options.h"

namespace lockstep {
namespace {

class DenseLayer final : public Layer {
 public:
  explicit DenseLayer(const DenseOptions& options) : options_(options) {}
  std::string kind() const override { return "dense"; }

  ValueId build(LayerContext& context, std::span<const ValueId> inputs) const override {
    const ValueId x = single_input(context, kind(), inputs);
    const Shape input = context.graph.type(x).shape;
    check_input(input.rank() >= 2, context.layer, " (", kind(), "): input ", input,
                " has no features, expected (batch, ..., features)");
    Initializer kernel = options_.kernel_initializer;
    kernel.fan_in = input[-1];
    kernel.fan_out = options_.units;
    const ValueId w = context.parameter("weight", {input[-1], options_.units}, kernel, true);
    ValueId y = dense(context.graph, x, w, context.node_name(""));
    if (options_.use_bias) {
      const ValueId b =
          context.parameter("bias", {options_.units}, options_.bias_initializer, false);
      y = bias(context.graph, y, b, context.node_name("bias"));
    }
    return activation(context.graph, y, options_.activation,
                      context.node_name(options_.activation));
  }

 private:
  DenseOptions options_;
};

}  // namespace

LayerPtr dense(const DenseOptions& options) {
  check_input(options.units >= 1, "dense: units is ", options.units, ", expected 1 or more");
  return std::make_shared<DenseLayer>(options);
}

void register_dense_layer(LayerRegistry& registry) {
  registry.add("dense", [](Settings& settings) {
    DenseOptions options;
    options.units = read_positive(settings, "units");
    options.activation = settings.choice("activation", activation_names(), options.activation);
    options.use_bias = settings.boolean("use_bias", options.use_bias);
    options.kernel_initializer =
        read_initializer(settings, "kernel_initializer", options.kernel_initializer);
    options.bias_initializer =
        read_initializer(settings, "bias_initializer", options.bias_initializer);
    return dense(options);
  });
}

}  // namespace lockstep
