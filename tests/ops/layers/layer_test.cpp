// What layers are built with: the context, and the registry that makes them from settings.
#include "ops/layers/layer.h"

#include <gtest/gtest.h>

#include <set>

#include "core/base/error.h"

namespace lockstep {
namespace {

class Identity final : public Layer {
 public:
  std::string kind() const override { return "identity"; }
  ValueId build(LayerContext& context, std::span<const ValueId> inputs) const override {
    return single_input(context, kind(), inputs);
  }
};

template <typename Action>
std::string message_of(const Action& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "nothing was thrown";
}

LayerContext context_of(Graph& graph, const std::string& layer) {
  return {.graph = graph, .layer = layer, .parameters = {}, .statistics = {}};
}

TEST(LayerContext, DeclaresParametersAsStates) {
  Graph graph;
  LayerContext context = context_of(graph, "fc1");
  const ValueId kernel = context.parameter("kernel", {3, 4}, {.kind = "he_normal"}, true);
  const ValueId bias = context.parameter("bias", {4}, {.kind = "zeros"}, false);
  EXPECT_EQ(graph.find_state("fc1/kernel"), kernel);
  EXPECT_EQ(graph.find_state("fc1/bias"), bias);
  EXPECT_EQ(graph.type(kernel).to_string(), "f32(3, 4)");
  ASSERT_EQ(context.parameters.size(), 2u);
  EXPECT_EQ(context.parameters[0].name, "fc1/kernel");
  EXPECT_EQ(context.parameters[0].initializer.kind, "he_normal");
  EXPECT_TRUE(context.parameters[0].decays);
  EXPECT_FALSE(context.parameters[1].decays);
  EXPECT_EQ(context.node_name(""), "fc1");
  EXPECT_EQ(context.node_name("relu"), "fc1/relu");
}

TEST(LayerContext, StatisticsTakeTheirBatchValue) {
  Graph graph;
  LayerContext context = context_of(graph, "bn");
  const ValueId mean = context.statistic("mean", {4}, 0.0f, 0.9);
  EXPECT_EQ(graph.find_state("bn/mean"), mean);
  EXPECT_EQ(context.statistics.at(0).batch_value, kNoValue);
  const ValueId value = graph.input("value", {DType::kF32, {4}});
  context.set_batch_value("mean", value);
  EXPECT_EQ(context.statistics.at(0).batch_value, value);
  EXPECT_EQ(context.statistics.at(0).momentum, 0.9);
  EXPECT_EQ(message_of([&] { context.set_batch_value("variance", value); }),
            "bn/variance: a batch value without a statistic");
  const ValueId other = graph.input("other", {DType::kF32, {5}});
  EXPECT_EQ(message_of([&] { context.set_batch_value("mean", other); }),
            "bn/mean: the batch value is f32(5), the statistic f32(4)");
}

TEST(LayerContext, RandomStreamDependsOnTheNameOnly) {
  Graph graph;
  std::set<std::uint32_t> seen;
  for (const char* name : {"dropout", "dropout1", "dropout2", "a", "b", ""}) {
    LayerContext context = context_of(graph, name);
    const std::uint32_t stream = context.random_stream();
    EXPECT_LT(stream, 1u << 24);
    EXPECT_EQ(stream, context_of(graph, name).random_stream());
    EXPECT_TRUE(seen.insert(stream).second) << name;
  }
  // FNV-1a of "a" is e40c292c.
  EXPECT_EQ(context_of(graph, "a").random_stream(), 0x0c292cu ^ 0xe4u);
}

TEST(LayerContext, SingleInputCounts) {
  Graph graph;
  LayerContext context = context_of(graph, "same");
  const ValueId x = graph.input("x", {DType::kF32, {1}});
  EXPECT_EQ(Identity().build(context, std::vector<ValueId>{x}), x);
  EXPECT_EQ(message_of([&] {
              Identity().build(context, std::vector<ValueId>{x, x});
            }),
            "same (identity): takes 1 input, got 2");
}

TEST(LayerRegistry, MakesLayersByTheirType) {
  LayerRegistry registry;
  registry.add("identity", [](Settings&) { return std::make_shared<Identity>(); });
  registry.add("dense", [](Settings&) -> LayerPtr { return std::make_shared<Identity>(); });
  EXPECT_EQ(registry.kinds(), (std::vector<std::string>{"dense", "identity"}));
  Settings settings("layer[0]", "train.toml:3");
  settings.set("type", {std::string("identity"), "train.toml:4"});
  EXPECT_EQ(registry.make(settings)->kind(), "identity");
  settings.set("type", {std::string("densse"), "train.toml:4"});
  EXPECT_EQ(message_of([&] { registry.make(settings); }),
            "train.toml:4: layer[0].type: \"densse\" is not a layer; did you mean \"dense\"?");
  settings.set("type", {std::string("zzz"), "train.toml:4"});
  EXPECT_EQ(message_of([&] { registry.make(settings); }),
            "train.toml:4: layer[0].type: \"zzz\" is not a layer; valid: dense, identity");
  Settings empty("layer[1]", "train.toml:9");
  EXPECT_EQ(message_of([&] { registry.make(empty); }),
            "train.toml:9: layer[1].type: missing; expected a text");
  EXPECT_EQ(message_of([&] {
              registry.add("dense", [](Settings&) { return std::make_shared<Identity>(); });
            }),
            "layer dense: registered twice");
}

}  // namespace
}  // namespace lockstep
