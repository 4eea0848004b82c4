// Models: names, connections, building, the summary, and what is refused. The layers here are toys;
// those of ops/layers have tests of their own.
#include "launcher/model.h"

#include <gtest/gtest.h>

#include "core/base/error.h"

namespace lockstep {
namespace {

// (batch, n) and more of the same shape -> (batch, units).
class ToyOp final : public Op {
 public:
  explicit ToyOp(std::int64_t units) : units_(units) {}
  std::string_view name() const override { return "toy"; }
  std::vector<TensorType> infer(std::span<const TensorType> inputs) const override {
    check_input(inputs[0].shape.rank() == 2, "input ", inputs[0].shape,
                " must be (batch, features)");
    return {{inputs[0].dtype, inputs[0].shape.with(1, units_), nullptr}};
  }

 private:
  std::int64_t units_;
};

// A weight (in, units) and, in training, a running statistic (units).
class ToyLayer final : public Layer {
 public:
  explicit ToyLayer(std::int64_t units, std::string kind = "dense")
      : units_(units), kind_(std::move(kind)) {}
  std::string kind() const override { return kind_; }
  ValueId build(LayerContext& context, std::span<const ValueId> inputs) const override {
    check_input(inputs.size() < 3, "takes at most 2 inputs, found ", inputs.size());
    const Shape& shape = context.graph.type(inputs[0]).shape;
    std::vector<ValueId> all(inputs.begin(), inputs.end());
    if (shape.rank() == 2) {
      all.push_back(context.parameter("weight", {shape[1], units_}, {}, true));
      context.statistic("mean", {units_}, 0.0f, 0.9);
    }
    if (context.training) all.push_back(context.sample);
    return context.graph.add(std::make_shared<ToyOp>(units_), all, context.node_name(""));
  }
  std::int64_t integers_below() const override { return kind_ == "embedding" ? units_ : 0; }

 private:
  std::int64_t units_;
  std::string kind_;
};

LayerPtr toy(std::int64_t units, const std::string& kind = "dense") {
  return std::make_shared<ToyLayer>(units, kind);
}

template <typename Action>
std::string message_of(const Action& action) {
  try {
    action();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kBadInput) << error.what();
    return error.what();
  }
  return "nothing was thrown";
}

std::string refusal(std::vector<LayerSpec> layers) {
  return message_of([&] { Model model(std::move(layers)); });
}

TEST(Model, ChainReadsTheLayerBeforeAndGetsNamesLikeKeras) {
  const Sequential model({toy(8), toy(4, "gate"), toy(3)});
  ASSERT_EQ(model.layers().size(), 3u);
  EXPECT_EQ(model.layers()[0].name, "dense");
  EXPECT_EQ(model.layers()[1].name, "gate");
  EXPECT_EQ(model.layers()[2].name, "dense_1");
  EXPECT_EQ(model.layers()[0].inputs, std::vector<std::string>{"x"});
  EXPECT_EQ(model.layers()[2].inputs, std::vector<std::string>{"gate"});
  EXPECT_EQ(model.output(), "dense_1");
  EXPECT_EQ(model.output_kind(), "dense");
}

TEST(Model, ChosenNamesAreTakenBeforeDerivedOnes) {
  const Model model(std::vector<LayerSpec>{{toy(8)}, {toy(8), "dense"}, {toy(8), "input_1"}});
  EXPECT_EQ(model.layers()[0].name, "dense_1");
  EXPECT_EQ(model.layers()[1].name, "dense");
}

TEST(Model, BuildsForAnyBatch) {
  const Model model = Sequential({toy(8), toy(3)}).with_inputs({{"x", {5}}});
  for (const std::int64_t batch : {1, 7}) {
    const ModelGraph built = model.build(batch, false, 1);
    built.graph.verify();
    EXPECT_EQ(built.graph.type(built.output).shape, (Shape{batch, 3}));
    ASSERT_EQ(built.inputs.size(), 1u);
    EXPECT_EQ(built.graph.find_input("x"), built.inputs[0]);
    EXPECT_EQ(built.graph.type(built.inputs[0]).to_string(),
              TensorType({DType::kF32, {batch, 5}, nullptr}).to_string());
    EXPECT_EQ(built.step, kNoValue);
    EXPECT_EQ(built.graph.find_input("sample"), kNoValue);
    ASSERT_EQ(built.parameters.size(), 2u);
    EXPECT_EQ(built.parameters[0].name, "dense/weight");
    EXPECT_EQ(built.parameters[1].shape, (Shape{8, 3}));
    EXPECT_EQ(built.statistics.size(), 2u);
  }
}

TEST(Model, TrainingGraphsHaveStepAndSample) {
  const Model model = Sequential({toy(3)}).with_inputs({{"x", {5}}});
  const ModelGraph built = model.build(4, true, 1);
  built.graph.verify();
  EXPECT_EQ(built.graph.type(built.step).to_string(), "i64()");
  EXPECT_EQ(built.graph.type(built.sample).to_string(), "i64(4)");
  EXPECT_EQ(built.graph.find_input("step"), built.step);
  EXPECT_EQ(built.graph.find_input("sample"), built.sample);
}

TEST(Model, BuilderMakesBranches) {
  ModelBuilder builder;
  const ModelValue x = builder.input("pixels", {5});
  const ModelValue y = builder.add(toy(5), x);
  const ModelValue z = builder.add(toy(5), {x, y}, "join");
  const Model model = builder.model(z);
  EXPECT_EQ(y.name, "dense");
  EXPECT_EQ(model.output(), "join");
  EXPECT_EQ(model.inputs()[0].name, "pixels");
  const ModelGraph built = model.build(2, false, 1);
  built.graph.verify();
  const Node& join = built.graph.nodes().back();
  EXPECT_EQ(join.name, "join");
  EXPECT_EQ(join.inputs[0], built.inputs[0]);
  EXPECT_EQ(join.inputs[1], built.graph.nodes().front().outputs[0]);
}

TEST(Model, BuilderTakesTheOutputThatIsAskedFor) {
  ModelBuilder builder;
  const ModelValue x = builder.input("x", {5});
  const ModelValue first = builder.add(toy(5), x);
  builder.add(toy(2), first);
  EXPECT_EQ(message_of([&] { builder.model(first); }),
            "layer \"dense_1\" (dense): no layer reads it, and the model's output is \"dense\"; "
            "remove it, or name it in the inputs of a later layer");
}

TEST(Model, RefusesWrongConnections) {
  EXPECT_EQ(refusal({}), "model: there is no layer; expected at least one");
  EXPECT_EQ(refusal({{toy(1), "a"}, {toy(1), "a", {}, "m.toml:9"}}),
            "m.toml:9: layer \"a\" (dense): the name is already that of another layer or input; "
            "names must differ");
  EXPECT_EQ(refusal({{toy(1), "x"}}),
            "layer \"x\" (dense): the name is already that of another layer or input; names must "
            "differ");
  EXPECT_EQ(refusal({{toy(1), "a/b"}}), "layer \"a/b\" (dense): a name must not contain \"/\"");
  EXPECT_EQ(
      refusal({{toy(1), "hidden"}, {toy(1), "out", {"hiden"}, "m.toml:9"}}),
      "m.toml:9: layer \"out\" (dense): reads \"hiden\", which is neither an earlier layer nor an "
      "input; did you mean \"hidden\"?; known here: \"x\", \"hidden\"");
  EXPECT_EQ(
      refusal({{toy(1), "a", {"b"}}, {toy(1), "b"}}),
      "layer \"a\" (dense): reads \"b\", which comes later; a layer reads earlier layers only");
  EXPECT_EQ(refusal({{toy(1), "a", {"a"}}}), "layer \"a\" (dense): reads itself");
  EXPECT_EQ(
      refusal({{toy(1), "a"}, {toy(1), "b"}, {toy(1), "c", {"a"}, "m.toml:9"}}),
      "layer \"b\" (dense): no layer reads it, and the model's output is \"c\"; remove it, or "
      "name it in the inputs of a later layer");
}

TEST(Model, RefusesWrongInputs) {
  EXPECT_EQ(
      message_of([] {
        Model({{toy(1), "a", {"p"}}}, {{"p", {1}}, {"q", {1}}});
      }),
      "model: no layer reads the input \"q\"; name it in the inputs of a layer, or leave it out");
  EXPECT_EQ(message_of([] {
              Model({{toy(1)}}, {{"p", {1}}, {"p", {1}}});
            }),
            "model: two inputs are named \"p\"");
  EXPECT_EQ(message_of([] {
              Model({{toy(1)}}, {{"", {1}}});
            }),
            "model: an input has an empty name");
}

TEST(Model, InputIsAWordForTheFirstInput) {
  const Model model({{toy(4), "a"}, {toy(4), "b", {"a", "input"}}}, {{"pixels", {4}}});
  const ModelGraph built = model.build(2, false, 1);
  EXPECT_EQ(built.graph.nodes().back().inputs[1], built.inputs[0]);
}

TEST(Model, ErrorsOfBuildingNamePlaceAndLayer) {
  const std::vector<LayerSpec> flat = {{toy(4), "hidden", {}, "m.toml:12"}};
  EXPECT_EQ(message_of([&] {
              Model(flat, {{"x", {8, 8}}}).build(2, false, 1);
            }),
            "m.toml:12: hidden (toy): input (2, 8, 8) must be (batch, features)");
  const std::vector<LayerSpec> many = {
      {toy(4), "a"}, {toy(4), "b"}, {toy(4), "c", {"input", "a", "b"}, "m.toml:20"}};
  EXPECT_EQ(message_of([&] {
              Model(many, {{"x", {4}}}).build(2, false, 1);
            }),
            "m.toml:20: layer \"c\" (dense): takes at most 2 inputs, found 3");
}

TEST(Model, SummaryShowsShapesAndParameters) {
  const Model model({{toy(8), "hidden"}, {toy(8), "gate"}, {toy(3), "out", {"hidden", "gate"}}},
                    {{"x", {5}}});
  EXPECT_EQ(model.summary(),
            "layer (type)    output shape  parameters  reads\n"
            "hidden (dense)  (batch, 8)            40\n"
            "gate (dense)    (batch, 8)            64\n"
            "out (dense)     (batch, 3)            24  hidden, gate\n"
            "parameters: 128, running statistics: 19\n");
}

TEST(Model, AnEmbeddingWantsIntegers) {
  const Model model({{toy(4, "embedding"), "words", {"input"}}, {toy(4), "b", {"words", "rest"}}},
                    {{"tokens", {4}}, {"rest", {4}}});
  EXPECT_EQ(model.integers_below("tokens"), 4);
  EXPECT_EQ(model.integers_below("input"), 4);
  EXPECT_EQ(model.integers_below("rest"), 0);
}

// ---- From a configuration ---------------------------------------------------------------------

LayerRegistry toy_registry() {
  LayerRegistry registry;
  registry.add("dense", [](Settings& settings) { return toy(settings.integer("units")); });
  return registry;
}

std::shared_ptr<Settings> layer_table(int number,
                                      std::vector<std::pair<std::string, Setting>> keys) {
  auto table = std::make_shared<Settings>("layer[" + std::to_string(number) + "]",
                                          "m.toml:" + std::to_string(10 * (number + 1)));
  for (auto& [key, setting] : keys) table->set(key, std::move(setting));
  return table;
}

Settings tree_of(const std::vector<std::shared_ptr<Settings>>& layers) {
  Settings root;
  Setting::List list;
  for (const auto& layer : layers) list.push_back({layer, layer->place()});
  root.set("layer", {list, "m.toml:10"});
  return root;
}

Setting word(const char* value) {
  return {std::string(value), "m.toml:11"};
}
Setting number(std::int64_t value) {
  return {value, "m.toml:12"};
}

TEST(ReadModel, ReadsTypeNameAndInputs) {
  Settings root = tree_of({
      layer_table(0, {{"type", word("dense")}, {"units", number(4)}, {"name", word("a")}}),
      layer_table(1, {{"type", word("dense")}, {"units", number(4)}}),
      layer_table(2, {{"type", word("dense")},
                      {"units", number(2)},
                      {"inputs", {Setting::List{word("a"), word("dense")}, "m.toml:13"}}}),
  });
  const Model model = read_model(root, toy_registry(), {"pixels"});
  EXPECT_EQ(model.inputs()[0].name, "pixels");
  ASSERT_EQ(model.layers().size(), 3u);
  EXPECT_EQ(model.layers()[1].inputs, std::vector<std::string>{"a"});
  EXPECT_EQ(model.layers()[2].inputs, (std::vector<std::string>{"a", "dense"}));
  EXPECT_EQ(model.layers()[2].place, "m.toml:30");
  // The derived names are visible in the resolved tree.
  const auto resolved = root.resolved();
  Settings& second = *resolved->tables("layer")[1];
  EXPECT_EQ(second.keys(), (std::vector<std::string>{"type", "name", "inputs", "units"}));
  EXPECT_EQ(second.word("name"), "dense");
  EXPECT_EQ(second.words("inputs", {}), std::vector<std::string>{"a"});
}

TEST(ReadModel, RefusesWithPlace) {
  Settings empty("", "m.toml");
  EXPECT_EQ(message_of([&] { read_model(empty, toy_registry(), {"x"}); }),
            "m.toml: layer: missing; expected at least one [[layer]] table");
  Settings unknown = tree_of({layer_table(0, {{"type", word("desne")}})});
  EXPECT_EQ(message_of([&] { read_model(unknown, toy_registry(), {"x"}); }),
            "m.toml:11: layer[0].type: \"desne\" is not a layer; did you mean \"dense\"?");
  Settings key = tree_of(
      {layer_table(0, {{"type", word("dense")}, {"units", number(1)}, {"unit", number(2)}})});
  EXPECT_EQ(message_of([&] { read_model(key, toy_registry(), {"x"}); }),
            "m.toml:12: layer[0].unit: unknown key; did you mean \"units\"?");
}

}  // namespace
}  // namespace lockstep
