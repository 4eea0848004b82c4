#include "launcher/weights/onnx_model.h"

#include "core/passes/eliminate_dead.h"
#include "core/passes/fuse.h"
#include "launcher/metrics.h"
#include "launcher/weights/model_weights.h"
#include "launcher/weights/onnx_input.h"
#include "ops/onnx/converter.h"
#include "ops/register.h"

namespace lockstep {
namespace {

constexpr const char* kOutput = "output";

// What predict derives from the outputs.
void add_results(OnnxBuilder& builder, Task task, const Shape& shape, const std::string& output) {
  if (task == Task::kBinary) {
    builder.output("probability", DType::kF32, shape, builder.node("probability", "Sigmoid", {output}));
  }
  if (task != Task::kClasses) return;
  const OnnxAttribute last{"axis", std::int64_t{-1}};
  builder.output("probability", DType::kF32, shape, builder.node("probability", "Softmax", {output}, {last}));
  const std::string largest = builder.node("label", "ArgMax", {output}, {last, {"keepdims", std::int64_t{0}}});
  const std::string label = builder.node("label", "Cast", {largest}, {{"to", onnx_type(DType::kI32)}});
  builder.output("label", DType::kI32, shape.slice(0, shape.rank() - 1), label);
}

}  // namespace

OnnxGraph onnx_model(const Config& config, const RunData& data, const Weights& weights, const std::string& where) {
  ModelGraph model = config.model.with_inputs(data.model_inputs).build(1, false, config.run.seed);
  check_weights(where, weights, model);
  model.graph.output(kOutput, model.output);
  // With the bias in the convolution, as other programs write it.
  const Graph graph = eliminate_dead(fuse(model.graph, room_fusions()));

  OnnxBuilder builder;
  OnnxRegistry registry;
  register_onnx_converters(registry);
  const auto values_of = [&](const Value& state) { return weights.at(state.name).values; };
  OnnxConversion conversion(graph, registry, values_of, builder);
  const std::vector<std::string> inputs = add_onnx_inputs(builder, config.data.windows, data);
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    conversion.set_input(graph.find_input(data.model_inputs[i].name), inputs[i]);
  }
  conversion.convert();
  const ValueId result = graph.find_output(kOutput);
  const std::string output = conversion.name_of_value(result);
  const Shape shape = graph.type(result).shape;
  builder.output(kOutput, DType::kF32, shape, output);
  add_results(builder, task_of_loss(config.train.loss->kind()), shape, output);
  return builder.finish();
}

}  // namespace lockstep
