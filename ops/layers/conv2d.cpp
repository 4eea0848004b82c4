#include "ops/layers/conv2d.h"

#include "core/base/error.h"
#include "ops/bias/bias.h"
#include "ops/conv2d/conv2d.h"
#include "ops/layers/read_options.h"

namespace lockstep {
namespace {

Padding2d padding_of(const Conv2dOptions& options) {
  if (options.padding_amount[0] >= 0) return {PaddingKind::kExplicit, options.padding_amount};
  return {options.padding == "same" ? PaddingKind::kSame : PaddingKind::kValid, {0, 0}};
}

class Conv2dLayer final : public Layer {
 public:
  explicit Conv2dLayer(const Conv2dOptions& options) : options_(options) {
    convolution_.window = {options.kernel_size, options.strides, options.dilation_rate,
                           padding_of(options)};
    convolution_.groups = options.groups;
    convolution_.winograd = options.algorithm == "auto";
  }
  std::string kind() const override { return "conv2d"; }

  ValueId build(LayerContext& context, std::span<const ValueId> inputs) const override {
    const ValueId x = single_input(context, kind(), inputs);
    const Shape input = context.graph.type(x).shape;
    const std::int64_t groups = options_.groups, filters = options_.filters;
    check_input(input.rank() == 4, context.layer, " (", kind(), "): input ", input,
                " is no batch of images, expected (batch, height, width, channels)");
    check_input(input[3] % groups == 0, context.layer, " (", kind(), "): ", input[3],
                " input channels cannot be split into ", groups, " groups");
    const auto& size = options_.kernel_size;
    Initializer kernel = options_.kernel_initializer;
    kernel.fan_in = size[0] * size[1] * input[3] / groups;
    kernel.fan_out = size[0] * size[1] * filters / groups;
    const ValueId w =
        context.parameter("weight", {size[0], size[1], input[3] / groups, filters}, kernel, true);
    ValueId y = conv2d(context.graph, x, w, convolution_, context.node_name(""));
    if (options_.use_bias) {
      const ValueId b = context.parameter("bias", {filters}, options_.bias_initializer, false);
      y = bias(context.graph, y, b, context.node_name("bias"));
    }
    return activation(context.graph, y, options_.activation,
                      context.node_name(options_.activation));
  }

 private:
  Conv2dOptions options_;
  Convolution convolution_;
};

}  // namespace

LayerPtr conv2d(const Conv2dOptions& options) {
  check_input(options.filters >= 1, "conv2d: filters is ", options.filters, ", expected 1 or more");
  check_input(options.groups >= 1 && options.filters % options.groups == 0,
              "conv2d: ", options.filters, " filters cannot be split into ", options.groups,
              " groups");
  check_input(options.padding == "valid" || options.padding == "same", "conv2d: padding is \"",
              options.padding, "\", expected \"valid\" or \"same\"");
  Window2d window{options.kernel_size, options.strides, options.dilation_rate, padding_of(options)};
  window.check();
  return std::make_shared<Conv2dLayer>(options);
}

void register_conv2d_layer(LayerRegistry& registry) {
  registry.add("conv2d", [](Settings& settings) {
    Conv2dOptions options;
    options.filters = read_positive(settings, "filters");
    options.kernel_size = read_size(settings, "kernel_size", options.kernel_size);
    options.strides = read_size(settings, "strides", options.strides);
    options.dilation_rate = read_size(settings, "dilation_rate", options.dilation_rate);
    const Padding2d padding = read_padding(settings, {});
    options.padding = padding.kind == PaddingKind::kSame ? "same" : "valid";
    if (padding.kind == PaddingKind::kExplicit) options.padding_amount = padding.amount;
    options.groups = read_positive(settings, "groups", options.groups);
    if (options.filters % options.groups != 0) {
      settings.refuse("groups", text(options.filters, " filters cannot be split into ",
                                     options.groups, " groups"));
    }
    options.activation = settings.choice("activation", activation_names(), options.activation);
    options.use_bias = settings.boolean("use_bias", options.use_bias);
    options.algorithm = settings.choice("algorithm", {"auto", "direct"}, options.algorithm);
    options.kernel_initializer =
        read_initializer(settings, "kernel_initializer", options.kernel_initializer);
    options.bias_initializer =
        read_initializer(settings, "bias_initializer", options.bias_initializer);
    return conv2d(options);
  });
}

}  // namespace lockstep
