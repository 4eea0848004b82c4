#include "ops/layers/reduction.h"

#include "core/base/error.h"
#include "ops/reduce/reduce.h"

namespace lockstep {
namespace {

class ReductionLayer final : public Layer {
 public:
  ReductionLayer(std::string kind, ReduceKind function, const ReductionOptions& options)
      : kind_(std::move(kind)), function_(function), options_(options) {}
  std::string kind() const override { return kind_; }

  ValueId build(LayerContext& context, std::span<const ValueId> inputs) const override {
    const ValueId x = single_input(context, kind_, inputs);
    const Shape shape = context.graph.type(x).shape;
    std::vector<int> axes;
    for (const std::int64_t axis : options_.axis) {
      const std::int64_t counted = axis < 0 ? axis + shape.rank() : axis;
      check_input(counted >= 1 && counted < shape.rank(), context.layer, " (", kind_, "): axis ", axis, " of input ", shape,
                  counted == 0 ? " is the batch, expected another axis" : " is not there");
      axes.push_back(static_cast<int>(counted));
    }
    if (options_.axis.empty()) {
      for (int axis = 1; axis < shape.rank(); ++axis) axes.push_back(axis);
    }
    check_input(!axes.empty(), context.layer, " (", kind_, "): input ", shape, " has nothing but the batch to reduce");
    return context.graph.add(std::make_shared<ReduceOp>(function_, axes, options_.keepdims), {x}, context.node_name(""));
  }

 private:
  std::string kind_;
  ReduceKind function_;
  ReductionOptions options_;
};

LayerPtr make(const std::string& kind, ReduceKind function, const ReductionOptions& options) {
  return std::make_shared<ReductionLayer>(kind, function, options);
}

}  // namespace

LayerPtr reduce_sum(const ReductionOptions& options) { return make("reduce_sum", ReduceKind::kSum, options); }
LayerPtr reduce_mean(const ReductionOptions& options) { return make("reduce_mean", ReduceKind::kMean, options); }
LayerPtr reduce_max(const ReductionOptions& options) { return make("reduce_max", ReduceKind::kMax, options); }

void register_reduction_layers(LayerRegistry& registry) {
  const std::pair<const char*, ReduceKind> kinds[] = {
      {"reduce_sum", ReduceKind::kSum}, {"reduce_mean", ReduceKind::kMean}, {"reduce_max", ReduceKind::kMax}};
  for (const auto& [kind, function] : kinds) {
    registry.add(kind, [kind = std::string(kind), function = function](Settings& settings) {
      ReductionOptions options;
      options.axis = settings.integer_list("axis", {});
      options.keepdims = settings.boolean("keepdims", false);
      return make(kind, function, options);
    });
  }
}

}  // namespace lockstep
