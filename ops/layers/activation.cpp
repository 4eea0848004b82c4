#include "ops/layers/activation.h"

#include <algorithm>

#include "core/base/error.h"
#include "ops/activation/activation.h"
#include "ops/layers/read_options.h"
#include "ops/softmax/softmax.h"

namespace lockstep {
namespace {

// A layer of one input without parameters: its kind and what it adds to the graph.
class FunctionLayer final : public Layer {
 public:
  using Function = std::function<ValueId(Graph&, ValueId x, const std::string& node_name)>;

  FunctionLayer(std::string kind, Function function)
      : kind_(std::move(kind)), function_(std::move(function)) {}
  std::string kind() const override { return kind_; }
  ValueId build(LayerContext& context, std::span<const ValueId> inputs) const override {
    return function_(context.graph, single_input(context, kind_, inputs), context.node_name(""));
  }

 private:
  std::string kind_;
  Function function_;
};

LayerPtr layer_of(const Activation& function) {
  const ActivationOp checked(function);
  return std::make_shared<FunctionLayer>(
      std::string(function.name()), [function](Graph& graph, ValueId x, const std::string& name) {
        return activation(graph, x, function, name);
      });
}

}  // namespace

// ---- By name -----------------------------------------------------------------------------------

std::vector<std::string> activation_names() {
  return {"linear", "relu", "leaky_relu", "sigmoid", "tanh", "gelu", "softmax"};
}

ValueId activation(Graph& graph, ValueId x, const std::string& name, const std::string& node_name) {
  if (name == "linear") return x;
  if (name == "relu") return relu(graph, x, node_name);
  if (name == "leaky_relu") return leaky_relu(graph, x, 0.3, node_name);
  if (name == "sigmoid") return sigmoid(graph, x, node_name);
  if (name == "tanh") return tanh(graph, x, node_name);
  if (name == "gelu") return gelu(graph, x, false, node_name);
  if (name == "softmax") return softmax(graph, x, -1, node_name);
  const std::string nearest = nearest_name(name, activation_names());
  bad_input(node_name, ": \"", name, "\" is not an activation; ",
            nearest.empty() ? "valid: linear, relu, leaky_relu, sigmoid, tanh, gelu, softmax"
                            : text("did you mean \"", nearest, "\"?"));
}

// ---- Layers ------------------------------------------------------------------------------------

LayerPtr relu() {
  return layer_of({ActivationKind::kRelu});
}

LayerPtr leaky_relu(const LeakyReluOptions& options) {
  return layer_of({ActivationKind::kLeakyRelu, options.negative_slope});
}

LayerPtr sigmoid() {
  return layer_of({ActivationKind::kSigmoid});
}

LayerPtr tanh() {
  return layer_of({ActivationKind::kTanh});
}

LayerPtr gelu(const GeluOptions& options) {
  return layer_of({options.approximate ? ActivationKind::kGeluApproximate : ActivationKind::kGelu});
}

LayerPtr softmax(const SoftmaxOptions& options) {
  return std::make_shared<FunctionLayer>(
      "softmax", [axis = options.axis](Graph& graph, ValueId x, const std::string& name) {
        const int rank = graph.type(x).shape.rank();
        check_input(axis != 0 && axis != -rank, name, " (softmax): axis ", axis, " is the batch, expected another axis");
        return softmax(graph, x, axis, name);
      });
}

LayerPtr activation(const ActivationOptions& options) {
  Graph probe;  // says at once where the name is unknown
  activation(probe, probe.input("x", {DType::kF32, {1}}), options.activation, "activation");
  return std::make_shared<FunctionLayer>(
      "activation",
      [function = options.activation](Graph& graph, ValueId x, const std::string& name) {
        return activation(graph, x, function, name);
      });
}

void register_activation_layers(LayerRegistry& registry) {
  registry.add("relu", [](Settings&) { return relu(); });
  registry.add("leaky_relu", [](Settings& settings) {
    const double slope = settings.real("negative_slope", LeakyReluOptions{}.negative_slope);
    if (slope < 0) settings.refuse("negative_slope", text("is ", slope, ", expected 0 or more"));
    return leaky_relu({.negative_slope = slope});
  });
  registry.add("sigmoid", [](Settings&) { return sigmoid(); });
  registry.add("tanh", [](Settings&) { return tanh(); });
  registry.add("gelu", [](Settings& settings) {
    return gelu({.approximate = settings.boolean("approximate", false)});
  });
  registry.add("softmax", [](Settings& settings) {
    return softmax({.axis = read_axis(settings, "axis", -1)});
  });
  registry.add("activation", [](Settings& settings) {
    settings.word("activation");  // refuses a missing key
    return activation({.activation = settings.choice("activation", activation_names(), "linear")});
  });
}

}  // namespace lockstep
