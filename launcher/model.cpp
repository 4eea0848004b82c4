#include "launcher/model.h"

#include <algorithm>
#include <iomanip>
#include <map>
#include <set>
#include <sstream>

#include "core/base/error.h"
#include "launcher/name_pattern.h"
#include "ops/from_bytes/from_bytes.h"

namespace lockstep {
namespace {

// The word for the first input of a model in a layer's `inputs`.
constexpr const char* kFirstInput = "input";

std::string in_quotes(const std::string& name) {
  return '"' + name + '"';
}

// "train.toml:12: layer "hidden" (dense): "
std::string place_of(const LayerSpec& spec) {
  return text(spec.place, spec.place.empty() ? "" : ": ", "layer ", in_quotes(spec.name), " (",
              spec.layer->kind(), "): ");
}

// "dense", then "dense_1", "dense_2", ...: the first of them that is not taken.
std::string derived_name(const std::string& kind, const std::set<std::string>& taken) {
  std::string name = kind;
  for (int number = 1; taken.contains(name); ++number) name = text(kind, "_", number);
  return name;
}

// Gives every layer a name and inputs: those of the model, or the layer before. Names that the user
// chose are taken before any is derived.
void resolve_names(std::vector<LayerSpec>& layers, const std::vector<ModelInput>& inputs) {
  std::set<std::string> taken = {kFirstInput};
  for (const ModelInput& input : inputs) {
    check_input(!input.name.empty(), "model: an input has an empty name");
    check_input(taken.insert(input.name).second || input.name == kFirstInput,
                "model: two inputs are named ", in_quotes(input.name));
  }
  for (const LayerSpec& spec : layers) {
    if (spec.name.empty()) continue;
    check_input(spec.name.find('/') == std::string::npos, place_of(spec),
                "a name must not contain \"/\"");
    check_input(taken.insert(spec.name).second, place_of(spec),
                "the name is already that of another layer or input; names must differ");
  }
  std::string before = inputs.front().name;
  for (LayerSpec& spec : layers) {
    if (spec.name.empty()) {
      spec.name = derived_name(spec.layer->kind(), taken);
      taken.insert(spec.name);
    }
    if (spec.inputs.empty()) spec.inputs = {before};
    before = spec.name;
  }
}

[[noreturn]] void refuse_input(const LayerSpec& spec, const std::string& input,
                               const std::vector<std::string>& earlier,
                               const std::vector<LayerSpec>& layers) {
  if (input == spec.name) bad_input(place_of(spec), "reads itself");
  for (const LayerSpec& other : layers) {
    if (other.name != input) continue;
    bad_input(place_of(spec), "reads ", in_quotes(input),
              ", which comes later; a layer reads earlier layers only");
  }
  const std::string nearest = nearest_name(input, earlier);
  std::string known;
  for (const std::string& name : earlier) known += (known.empty() ? "" : ", ") + in_quotes(name);
  bad_input(place_of(spec), "reads ", in_quotes(input),
            ", which is neither an earlier layer nor an input",
            nearest.empty() ? "" : "; did you mean " + in_quotes(nearest) + "?",
            "; known here: ", known);
}

// Elements of the parameters or statistics that `counts`.
template <typename Spec, typename Counts>
std::int64_t elements_of(const std::vector<Spec>& specs, Counts counts) {
  std::int64_t sum = 0;
  for (const Spec& spec : specs) {
    if (counts(spec)) sum += spec.shape.elements();
  }
  return sum;
}

// "parameters: 4810 (4010 trainable, 800 frozen), running statistics: 32"
std::string totals_of(const ModelGraph& model) {
  const auto all = [](const auto&) { return true; };
  const std::int64_t parameters = elements_of(model.parameters, all), statistics = elements_of(model.statistics, all);
  const std::int64_t trainable = elements_of(model.parameters, [](const ParameterSpec& spec) { return spec.trainable; });
  std::string out = text("parameters: ", parameters);
  if (trainable < parameters) out += text(" (", trainable, " trainable, ", parameters - trainable, " frozen)");
  if (statistics > 0) out += text(", running statistics: ", statistics);
  return out + '\n';
}

// "(batch, 8, 8, 16)"
std::string batch_shape(const Shape& shape) {
  if (shape.rank() == 0) return "()";
  std::string out = "(batch";
  for (int axis = 1; axis < shape.rank(); ++axis) out += text(", ", shape[axis]);
  return out + ")";
}

}  // namespace

Model::Model(std::vector<LayerSpec> layers, std::vector<ModelInput> inputs,
             const std::string& output)
    : layers_(std::move(layers)), inputs_(std::move(inputs)) {
  check_input(!layers_.empty(), "model: there is no layer; expected at least one");
  check_input(!inputs_.empty(), "model: there is no input; expected at least one");
  for (const LayerSpec& spec : layers_) require(spec.layer != nullptr, "model: a layer is null");
  resolve_names(layers_, inputs_);
  output_ = output.empty() ? layers_.back().name : output;
  check();
}

void Model::check() const {
  std::vector<std::string> earlier;
  for (const ModelInput& input : inputs_) earlier.push_back(input.name);
  std::set<std::string> read = {output_};
  for (const LayerSpec& spec : layers_) {
    for (const std::string& input : spec.inputs) {
      const bool known = input == kFirstInput || std::ranges::find(earlier, input) != earlier.end();
      if (!known) refuse_input(spec, input, earlier, layers_);
      read.insert(input == kFirstInput ? inputs_.front().name : input);
    }
    earlier.push_back(spec.name);
  }
  for (const LayerSpec& spec : layers_) {
    check_input(read.contains(spec.name), place_of(spec),
                "no layer reads it, and the model's output is ", in_quotes(output_),
                "; remove it, or name it in the inputs of a later layer");
  }
  for (const ModelInput& input : inputs_) {
    check_input(read.contains(input.name), "model: no layer reads the input ",
                in_quotes(input.name), "; name it in the inputs of a layer, or leave it out");
  }
}

Model Model::with_inputs(std::vector<ModelInput> inputs) const {
  require(inputs.size() == inputs_.size(), "model: ", inputs.size(), " inputs given, ",
          inputs_.size(), " expected");
  Model model = *this;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    require(inputs[i].name == inputs_[i].name, "model: input ", i, " is ",
            in_quotes(inputs_[i].name), ", given was ", in_quotes(inputs[i].name));
  }
  model.inputs_ = std::move(inputs);
  return model;
}

Model Model::with_frozen(const std::vector<std::string>& patterns) const {
  Model model = *this;
  for (const std::string& pattern : patterns) {
    bool found = false;
    std::vector<std::string> names;
    for (LayerSpec& spec : model.layers_) {
      names.push_back(spec.name);
      if (!fits(spec.name, pattern)) continue;
      found = true;
      spec.trainable = false;
    }
    const std::string nearest = nearest_name(pattern, names);
    check_input(found, "no layer is named ", in_quotes(pattern),
                nearest.empty() ? std::string() : "; did you mean " + in_quotes(nearest) + "?");
  }
  return model;
}

void Model::append(LayerSpec layer) {
  require(layer.layer != nullptr, "model: a layer is null");
  layers_.push_back(std::move(layer));
  resolve_names(layers_, inputs_);
  output_ = layers_.back().name;
}

ModelGraph Model::build(std::int64_t batch, bool training, std::uint64_t seed) const {
  check_input(!layers_.empty(), "model: there is no layer; expected at least one");
  ModelGraph model;
  std::map<std::string, ValueId> values;
  for (const ModelInput& input : inputs_) {
    std::vector<std::int64_t> dims = {batch};
    dims.insert(dims.end(), input.sample.dims().begin(), input.sample.dims().end());
    model.inputs.push_back(model.graph.input(input.name, {input.dtype, Shape(dims), nullptr}));
    values[input.name] = model.inputs.back();
    if (input.dtype == DType::kU8) {
      values[input.name] = from_bytes(model.graph, model.inputs.back(), input.shift, input.scale, input.name + "/f32");
    }
  }
  values[kFirstInput] = values.at(inputs_.front().name);
  if (training) {
    model.step = model.graph.input("step", {DType::kI64, {}, nullptr});
    model.sample = model.graph.input("sample", {DType::kI64, {batch}, nullptr});
  }
  LayerContext context{.graph = model.graph,
                       .training = training,
                       .seed = seed,
                       .step = model.step,
                       .sample = model.sample,
                       .layer = {},
                       .trainable = true,
                       .parameters = {},
                       .statistics = {}};
  for (const LayerSpec& spec : layers_) {
    std::vector<ValueId> inputs;
    for (const std::string& name : spec.inputs) inputs.push_back(values.at(name));
    context.layer = spec.name;
    context.trainable = spec.trainable;
    try {
      values[spec.name] = spec.layer->build(context, inputs);
    } catch (const Error& error) {
      // Errors of nodes start with the node's name: the layer's, or the layer's and "/...".
      const std::string message = error.what();
      const bool named =
          message.starts_with(spec.name + " (") || message.starts_with(spec.name + "/");
      throw Error(error.kind(), named ? text(spec.place, spec.place.empty() ? "" : ": ", message)
                                      : place_of(spec) + message);
    }
  }
  model.output = values.at(output_);
  model.parameters = std::move(context.parameters);
  model.statistics = std::move(context.statistics);
  return model;
}

std::string Model::summary() const {
  struct Row {
    std::string layer, shape, parameters, reads;
  };
  std::vector<Row> rows = {{"layer (type)", "output shape", "parameters", "reads"}};
  // One more layer at a time, to see the type of each result. Layers are cheap to build.
  const ModelGraph whole = build(1, false, 0);
  std::string before = inputs_.front().name;
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    Model part = *this;
    part.layers_.resize(i + 1);
    part.output_ = layers_[i].name;
    const ModelGraph graph = part.build(1, false, 0);
    std::string reads;
    for (const std::string& input : layers_[i].inputs) reads += (reads.empty() ? "" : ", ") + input;
    const auto own = [&](const auto& spec) { return spec.name.starts_with(layers_[i].name + "/"); };
    const bool keeps = elements_of(whole.parameters, own) + elements_of(whole.statistics, own) > 0;
    rows.push_back({text(layers_[i].name, " (", layers_[i].layer->kind(),
                         keeps && !layers_[i].trainable ? ", frozen)" : ")"),
                    batch_shape(graph.graph.type(graph.output).shape),
                    text(elements_of(whole.parameters, own)),
                    reads == before ? "" : reads});
    before = layers_[i].name;
  }
  std::size_t widths[3] = {};
  for (const Row& row : rows) {
    widths[0] = std::max(widths[0], row.layer.size());
    widths[1] = std::max(widths[1], row.shape.size());
    widths[2] = std::max(widths[2], row.parameters.size());
  }
  std::ostringstream out;
  for (const Row& row : rows) {
    std::ostringstream line;
    line << std::left << std::setw(int(widths[0]) + 2) << row.layer << std::setw(int(widths[1]) + 2)
         << row.shape << std::right << std::setw(int(widths[2])) << row.parameters << "  "
         << row.reads;
    std::string shown = std::move(line).str();
    shown.erase(shown.find_last_not_of(' ') + 1);
    out << shown << '\n';
  }
  out << totals_of(whole);
  return std::move(out).str();
}

std::string Model::output_kind() const {
  for (const LayerSpec& spec : layers_) {
    if (spec.name == output_) return spec.layer->kind();
  }
  return {};
}

std::int64_t Model::integers_below(const std::string& name) const {
  const bool first = name == kFirstInput || name == inputs_.front().name;
  std::int64_t least = 0;
  for (const LayerSpec& spec : layers_) {
    const std::int64_t below = spec.layer->integers_below();
    if (below == 0) continue;
    for (const std::string& input : spec.inputs) {
      const bool reads = input == name || (first && (input == kFirstInput || input == inputs_.front().name));
      if (reads && (least == 0 || below < least)) least = below;
    }
  }
  return least;
}

Sequential::Sequential(const std::vector<LayerPtr>& layers) {
  for (const LayerPtr& layer : layers) add(layer);
}

Sequential& Sequential::add(LayerPtr layer, const std::string& name) {
  append({.layer = std::move(layer), .name = name});
  return *this;
}

ModelValue ModelBuilder::input(const std::string& name, const Shape& sample, DType dtype) {
  inputs_.push_back({name, sample, dtype});
  return {name};
}

ModelValue ModelBuilder::add(LayerPtr layer, const ModelValue& input, const std::string& name) {
  return add(std::move(layer), {input}, name);
}

ModelValue ModelBuilder::add(LayerPtr layer, std::initializer_list<ModelValue> inputs,
                             const std::string& name) {
  LayerSpec spec{.layer = std::move(layer), .name = name};
  require(spec.layer != nullptr, "model: a layer is null");
  for (const ModelValue& input : inputs) spec.inputs.push_back(input.name);
  if (name.empty()) {
    std::set<std::string> taken;
    for (const ModelInput& other : inputs_) taken.insert(other.name);
    for (const LayerSpec& other : layers_) taken.insert(other.name);
    spec.name = derived_name(spec.layer->kind(), taken);
  }
  layers_.push_back(spec);
  return {spec.name};
}

Model ModelBuilder::model(const ModelValue& output) const {
  return Model(layers_, inputs_, output.name);
}

Model read_model(Settings& root, const LayerRegistry& registry,
                 const std::vector<std::string>& inputs) {
  const std::vector<Settings*> tables = root.tables("layer");
  if (tables.empty()) root.refuse("layer", "missing; expected at least one [[layer]] table");
  std::vector<LayerSpec> specs;
  for (Settings* table : tables) {
    LayerSpec spec;
    table->find("type");  // the first key, where the configuration is written out
    spec.name = table->word("name", "");
    spec.inputs = table->words("inputs", {});
    if (table->find("trainable") != nullptr) spec.trainable = table->boolean("trainable", true);
    spec.place = table->place();
    spec.layer = registry.make(*table);
    table->finish();
    specs.push_back(std::move(spec));
  }
  std::vector<ModelInput> model_inputs;
  for (const std::string& name : inputs) model_inputs.push_back({.name = name});
  Model model(std::move(specs), std::move(model_inputs));
  for (std::size_t i = 0; i < tables.size(); ++i) {
    const LayerSpec& spec = model.layers()[i];
    Setting::List names;
    for (const std::string& input : spec.inputs) names.push_back({input, spec.place});
    tables[i]->set("name", {spec.name, spec.place});
    tables[i]->set("inputs", {std::move(names), spec.place});
  }
  return model;
}

}  // namespace lockstep
