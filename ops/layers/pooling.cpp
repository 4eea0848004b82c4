#include "ops/layers/pooling.h"

#include "core/base/error.h"
#include "ops/layers/read_options.h"
#include "ops/pool2d/pool2d.h"
#include "ops/reduce/reduce.h"

namespace lockstep {
namespace {

void check_images(const LayerContext& context, const std::string& kind, const Shape& input) {
  check_input(input.rank() == 4, context.layer, " (", kind, "): input ", input,
              " is no batch of images, expected (batch, height, width, channels)");
}

Window2d window_of(const Pooling2dOptions& options) {
  Window2d window;
  window.size = options.pool_size;
  for (int axis = 0; axis < 2; ++axis) {
    window.strides[axis] =
        options.strides[axis] > 0 ? options.strides[axis] : options.pool_size[axis];
  }
  if (options.padding_amount[0] >= 0) {
    window.padding = {PaddingKind::kExplicit, options.padding_amount};
  } else {
    window.padding.kind = options.padding == "same" ? PaddingKind::kSame : PaddingKind::kValid;
  }
  return window;
}

class PoolingLayer final : public Layer {
 public:
  PoolingLayer(std::string kind, const Window2d& window)
      : kind_(std::move(kind)), window_(window) {}
  std::string kind() const override { return kind_; }

  ValueId build(LayerContext& context, std::span<const ValueId> inputs) const override {
    const ValueId x = single_input(context, kind_, inputs);
    check_images(context, kind_, context.graph.type(x).shape);
    const auto pool = kind_ == "max_pooling2d" ? max_pool2d : average_pool2d;
    return pool(context.graph, x, window_, context.node_name(""));
  }

 private:
  std::string kind_;
  Window2d window_;
};

class GlobalPoolingLayer final : public Layer {
 public:
  explicit GlobalPoolingLayer(std::string kind) : kind_(std::move(kind)) {}
  std::string kind() const override { return kind_; }

  ValueId build(LayerContext& context, std::span<const ValueId> inputs) const override {
    const ValueId x = single_input(context, kind_, inputs);
    check_images(context, kind_, context.graph.type(x).shape);
    const auto reduce = kind_ == "global_max_pooling2d" ? reduce_max : reduce_mean;
    return reduce(context.graph, x, {1, 2}, false, context.node_name(""));
  }

 private:
  std::string kind_;
};

LayerPtr pooling(const std::string& kind, const Pooling2dOptions& options) {
  check_input(options.padding == "valid" || options.padding == "same", kind, ": padding is \"",
              options.padding, "\", expected \"valid\" or \"same\"");
  const Window2d window = window_of(options);
  window.check();
  return std::make_shared<PoolingLayer>(kind, window);
}

LayerPtr read_pooling(const std::string& kind, Settings& settings) {
  Pooling2dOptions options;
  options.pool_size = read_size(settings, "pool_size", options.pool_size);
  options.strides = read_size(settings, "strides", options.pool_size);
  const Padding2d padding = read_padding(settings, {});
  options.padding = padding.kind == PaddingKind::kSame ? "same" : "valid";
  if (padding.kind == PaddingKind::kExplicit) options.padding_amount = padding.amount;
  return pooling(kind, options);
}

}  // namespace

LayerPtr max_pooling2d(const Pooling2dOptions& options) {
  return pooling("max_pooling2d", options);
}
LayerPtr average_pooling2d(const Pooling2dOptions& options) {
  return pooling("average_pooling2d", options);
}
LayerPtr global_max_pooling2d() {
  return std::make_shared<GlobalPoolingLayer>("global_max_pooling2d");
}
LayerPtr global_average_pooling2d() {
  return std::make_shared<GlobalPoolingLayer>("global_average_pooling2d");
}

void register_pooling_layers(LayerRegistry& registry) {
  for (const char* kind : {"max_pooling2d", "average_pooling2d"}) {
    registry.add(kind, [kind](Settings& settings) { return read_pooling(kind, settings); });
  }
  registry.add("global_max_pooling2d", [](Settings&) { return global_max_pooling2d(); });
  registry.add("global_average_pooling2d", [](Settings&) { return global_average_pooling2d(); });
}

}  // namespace lockstep
