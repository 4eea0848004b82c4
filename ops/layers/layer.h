// Layers: what a model is made of. A layer adds its nodes and declares its parameters when the
// model is built for a batch size; it holds settings only, so one layer builds any number of
// graphs.
//
// Layouts: images NHWC, sequences (batch, time, features), dense (batch, features). Weights are as
// in Keras: dense (in, out), conv2d (kernel_h, kernel_w, in / groups, out).
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/base/settings.h"
#include "core/graph/graph.h"
#include "ops/layers/initializer.h"

namespace lockstep {

// A tensor of the model, a graph state of type f32. Its name is "<layer>/<local name>".
struct ParameterSpec {
  std::string name;
  Shape shape;
  Initializer initializer;
  bool decays = true;  // weight decay applies: weights yes, biases and norm parameters no
  bool trainable = true;  // false: of a frozen layer; it keeps its value, and nobody asks for its gradient
};

// A running statistic (batch norm), a graph state of type f32 that the optimizer does not touch.
// After a step: state = momentum * state + (1 - momentum) * mean over samples of `batch_value`.
struct StatisticSpec {
  std::string name;
  Shape shape;
  float initial = 0.0f;
  double momentum = 0.99;
  ValueId batch_value = kNoValue;  // f32, in the graph; kNoValue in inference graphs
  bool trainable = true;           // false: of a frozen layer; it keeps its value and has no batch value
};

// What a layer works with while one graph is built.
struct LayerContext {
  Graph& graph;
  bool training = false;
  std::uint64_t seed = 0;
  ValueId step = kNoValue;    // i64(): optimizer steps done so far; training only
  ValueId sample = kNoValue;  // i64(batch): number of each sample in its dataset; training only
  std::string layer;          // name of the layer that is being built
  bool trainable = true;      // false: that layer is frozen
  std::vector<ParameterSpec> parameters;
  std::vector<StatisticSpec> statistics;

  // Declares a parameter of this layer and returns its state value.
  ValueId parameter(const std::string& name, const Shape& shape, const Initializer& initializer,
                    bool decays);
  // Declares a running statistic; returns its state value.
  ValueId statistic(const std::string& name, const Shape& shape, float initial, double momentum);
  // Says what the statistic of that local name is in this batch.
  void set_batch_value(const std::string& name, ValueId value);
  // Node name "<layer>/<name>" ("<layer>" for an empty name).
  std::string node_name(const std::string& name) const;
  // A number for RandomStream that depends on the layer's name only (24 bits).
  std::uint32_t random_stream() const;
};

class Layer {
 public:
  virtual ~Layer() = default;
  virtual std::string kind() const = 0;  // "conv2d"
  // Adds the layer's nodes; `inputs` has at least one value. Throws bad_input where the shapes do
  // not fit.
  virtual ValueId build(LayerContext& context, std::span<const ValueId> inputs) const = 0;
  // More than 0: the inputs are integers in [0, that number), as those of an embedding.
  virtual std::int64_t integers_below() const { return 0; }
};

using LayerPtr = std::shared_ptr<const Layer>;

// The input of a layer that takes one; bad_input "<layer> (<kind>): takes 1 input, got 2"
// otherwise.
ValueId single_input(const LayerContext& context, const std::string& kind,
                     std::span<const ValueId> inputs);

// Makes layers from settings: [[layer]] type = "conv2d" filters = 32 ...
class LayerRegistry {
 public:
  using Maker = std::function<LayerPtr(Settings&)>;
  void add(const std::string& kind, Maker maker);
  // Reads "type" of `settings` and makes the layer; throws bad_input naming the nearest valid kind.
  // The caller has read "name" and "inputs" and calls settings.finish() afterwards.
  LayerPtr make(Settings& settings) const;
  std::vector<std::string> kinds() const;

 private:
  std::map<std::string, Maker> makers_;
};

// Applies the activation of that name ("linear", "relu", "leaky_relu", "sigmoid", "tanh", "gelu",
// "softmax"); "linear" returns x.
ValueId activation(Graph& graph, ValueId x, const std::string& name, const std::string& node_name);
std::vector<std::string> activation_names();

}  // namespace lockstep
