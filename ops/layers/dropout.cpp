#include "ops/layers/dropout.h"

#include "core/base/error.h"
#include "ops/dropout/dropout.h"

namespace lockstep {
namespace {

bool is_rate(double rate) {
  return rate >= 0 && rate < 1;
}

class DropoutLayer final : public Layer {
 public:
  explicit DropoutLayer(const DropoutOptions& options) : rate_(options.rate) {}
  std::string kind() const override { return "dropout"; }
  ValueId build(LayerContext& context, std::span<const ValueId> inputs) const override {
    const ValueId x = single_input(context, kind(), inputs);
    if (!context.training || rate_ == 0) return x;
    require(context.step != kNoValue && context.sample != kNoValue, context.layer,
            " (dropout): a training graph without step and sample numbers");
    return dropout(context.graph, x, rate_,
                   {.step = context.step,
                    .sample = context.sample,
                    .seed = context.seed,
                    .stream = context.random_stream()},
                   context.node_name(""));
  }

 private:
  double rate_;
};

}  // namespace

LayerPtr dropout(const DropoutOptions& options) {
  check_input(is_rate(options.rate), "dropout: rate is ", options.rate, ", expected 0 <= rate < 1");
  return std::make_shared<DropoutLayer>(options);
}

void register_dropout_layer(LayerRegistry& registry) {
  registry.add("dropout", [](Settings& settings) {
    const double rate = settings.real("rate");
    if (!is_rate(rate)) settings.refuse("rate", text("is ", rate, ", expected 0 <= rate < 1"));
    return dropout({.rate = rate});
  });
}

}  // namespace lockstep
