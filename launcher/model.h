// A model: named layers, each reading the results of earlier layers or the model's inputs. It holds
// settings only, so one model builds any number of graphs: for training and inference, for every
// batch size.
//
// A chain, as Keras' Sequential:
//   Sequential model({dense({.units = 32, .activation = "relu"}), dense({.units = 10})});
// Branches, as Keras' functional interface:
//   ModelBuilder builder;
//   ModelValue x = builder.input("x", {8, 8, 1});
//   ModelValue y = builder.add(conv2d({.filters = 1, .kernel_size = {3, 3}, .padding = "same"}),
//   x); Model model = builder.model(builder.add(add(), {x, y}));
// From a configuration, where a layer reads the layer before it unless it says `inputs`:
//   [[layer]]
//   type = "dense"
//   name = "hidden"    # default: the type, then type_1, type_2, ... as in Keras
//   inputs = "input"   # one name or a list; "input" is the model's first input
//   units = 32
//
// Every layer must be read by another one or be the model's output. Errors are bad_input that name
// the layer and, for models from a configuration, the place in the file. Values: copying is cheap,
// layers are shared. Const members may be called by several threads.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <vector>

#include "core/base/settings.h"
#include "core/graph/graph.h"
#include "ops/layers/layer.h"

namespace lockstep {

// What a model reads: a named array of samples. `sample` is the shape of one sample, without the
// batch.
struct ModelInput {
  std::string name = "x";
  Shape sample = {};
  DType dtype = DType::kF32;  // kI32 for what an embedding reads; kU8 for bytes that become f32 first
  // Of bytes: layers read (x - shift) * scale; none, one, or one for each entry of the last axis.
  std::vector<double> shift = {}, scale = {};
};

// One layer of a model before it is checked.
struct LayerSpec {
  LayerPtr layer;
  std::string name = {};  // empty: derived from the layer's kind
  std::vector<std::string> inputs =
      {};                  // layers or model inputs; empty: the layer before, or the first input
  std::string place = {};  // "file:line" for messages; empty where made in C++
  bool trainable = true;   // false: frozen, its parameters and statistics keep their values
};

// A model built for one batch size. Nothing is marked as output of the graph yet.
struct ModelGraph {
  Graph graph;
  // Graph inputs, in the order of Model::inputs(): (batch, sample...).
  std::vector<ValueId> inputs;
  ValueId step = kNoValue;    // input "step" i64(): optimizer steps done so far; training only
  ValueId sample = kNoValue;  // input "sample" i64(batch): number of each sample; training only
  ValueId output = kNoValue;  // what the last layer computes
  std::vector<ParameterSpec> parameters;
  std::vector<StatisticSpec> statistics;
};

class Model {
 public:
  // Checks names and connections. `output` names the layer whose result is the model's; empty: the
  // last. The shapes of `inputs` may come later (with_inputs), when the data is known.
  explicit Model(std::vector<LayerSpec> layers, std::vector<ModelInput> inputs = {ModelInput{}},
                 const std::string& output = "");
  virtual ~Model() = default;

  // The same layers reading these inputs, whose names and order must be those of inputs().
  Model with_inputs(std::vector<ModelInput> inputs) const;

  // The same model with the layers frozen whose names fit one of the patterns (name_pattern.h). Throws bad_input where a
  // pattern fits no layer.
  Model with_frozen(const std::vector<std::string>& patterns) const;

  // Adds all layers to a new graph for `batch` samples. Training graphs have dropout, batch
  // statistics and the inputs "step" and "sample". `seed` is the run's. REQUIRES: the shapes of
  // inputs() are known; there is a layer.
  ModelGraph build(std::int64_t batch, bool training, std::uint64_t seed) const;

  // A table like Keras' model.summary(): layer, output shape, parameters, and totals below, trainable and frozen.
  // REQUIRES: as for build.
  std::string summary() const;

  // In the order in which they are built, names and inputs resolved.
  const std::vector<LayerSpec>& layers() const { return layers_; }
  const std::vector<ModelInput>& inputs() const { return inputs_; }
  // Name of the layer whose result is the model's.
  const std::string& output() const { return output_; }
  // Kind of that layer ("dense", "softmax").
  std::string output_kind() const;
  // More than 0: layers read the model input `name` ("input": the first) as integers in [0, that number).
  std::int64_t integers_below(const std::string& name) const;

 protected:
  Model() : inputs_{ModelInput{}} {}
  void append(LayerSpec layer);

 private:
  void check() const;

  std::vector<LayerSpec> layers_;
  std::vector<ModelInput> inputs_;  // at least one
  std::string output_;
};

// A chain of layers.
class Sequential : public Model {
 public:
  Sequential() = default;
  explicit Sequential(const std::vector<LayerPtr>& layers);
  // Appends a layer that reads the last one. Returns *this.
  Sequential& add(LayerPtr layer, const std::string& name = "");
};

// A result inside a model that is being put together.
struct ModelValue {
  std::string name;  // of the layer or input
};

// Puts a model with branches together.
class ModelBuilder {
 public:
  // Declares an input of samples of that shape.
  ModelValue input(const std::string& name, const Shape& sample, DType dtype = DType::kF32);
  ModelValue add(LayerPtr layer, const ModelValue& input, const std::string& name = "");
  ModelValue add(LayerPtr layer, std::initializer_list<ModelValue> inputs,
                 const std::string& name = "");
  // The model that computes `output`.
  Model model(const ModelValue& output) const;

 private:
  std::vector<LayerSpec> layers_;
  std::vector<ModelInput> inputs_;
};

// The model of a configuration: reads its [[layer]] tables (type, name, inputs, and what each layer
// itself reads). `inputs` are the names of the data arrays.
Model read_model(Settings& root, const LayerRegistry& registry,
                 const std::vector<std::string>& inputs);

}  // namespace lockstep
