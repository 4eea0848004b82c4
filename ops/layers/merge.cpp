#include "ops/layers/merge.h"

#include "core/base/error.h"
#include "ops/binary/binary.h"
#include "ops/concat/concat.h"
#include "ops/layers/read_options.h"

namespace lockstep {
namespace {

class ArithmeticLayer final : public Layer {
 public:
  ArithmeticLayer(std::string kind, BinaryKind function, std::size_t most)
      : kind_(std::move(kind)), function_(function), most_(most) {}
  std::string kind() const override { return kind_; }
  ValueId build(LayerContext& context, std::span<const ValueId> inputs) const override {
    check_input(inputs.size() >= 2 && inputs.size() <= most_, context.layer, " (", kind_,
                "): takes 2 inputs", most_ > 2 ? " or more" : "", ", got ", inputs.size());
    ValueId result = inputs[0];
    for (std::size_t i = 1; i < inputs.size(); ++i) {
      const bool last = i + 1 == inputs.size();
      const std::string name = context.node_name(last ? "" : text("partial", i));
      result = binary(context.graph, function_, result, inputs[i], name);
    }
    return result;
  }

 private:
  std::string kind_;
  BinaryKind function_;
  std::size_t most_;  // inputs
};

class ConcatenateLayer final : public Layer {
 public:
  explicit ConcatenateLayer(const ConcatenateOptions& options) : options_(options) {}
  std::string kind() const override { return "concatenate"; }
  ValueId build(LayerContext& context, std::span<const ValueId> inputs) const override {
    const int rank = context.graph.type(inputs[0]).shape.rank();
    check_input(options_.axis != 0 && options_.axis != -rank, context.layer,
                " (concatenate): axis ", options_.axis, " is the batch, expected another axis");
    return concat(context.graph, {inputs.begin(), inputs.end()}, options_.axis,
                  context.node_name(""));
  }

 private:
  ConcatenateOptions options_;
};

constexpr std::size_t kAny = 1000;  // inputs

}  // namespace

LayerPtr add() {
  return std::make_shared<ArithmeticLayer>("add", BinaryKind::kAdd, kAny);
}

LayerPtr subtract() {
  return std::make_shared<ArithmeticLayer>("subtract", BinaryKind::kSubtract, 2);
}

LayerPtr multiply() {
  return std::make_shared<ArithmeticLayer>("multiply", BinaryKind::kMultiply, kAny);
}

LayerPtr divide() {
  return std::make_shared<ArithmeticLayer>("divide", BinaryKind::kDivide, 2);
}

LayerPtr concatenate(const ConcatenateOptions& options) {
  return std::make_shared<ConcatenateLayer>(options);
}

void register_merge_layers(LayerRegistry& registry) {
  registry.add("add", [](Settings&) { return add(); });
  registry.add("subtract", [](Settings&) { return subtract(); });
  registry.add("multiply", [](Settings&) { return multiply(); });
  registry.add("divide", [](Settings&) { return divide(); });
  registry.add("concatenate", [](Settings& settings) {
    return concatenate({.axis = read_axis(settings, "axis", -1)});
  });
}

}  // namespace lockstep
