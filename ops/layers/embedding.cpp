#include "ops/layers/embedding.h"

#include "core/base/error.h"
#include "ops/embedding/embedding.h"

namespace lockstep {
namespace {

class EmbeddingLayer final : public Layer {
 public:
  explicit EmbeddingLayer(const EmbeddingOptions& options) : options_(options) {}
  std::string kind() const override { return "embedding"; }
  std::int64_t integers_below() const override { return options_.input_dim; }
  ValueId build(LayerContext& context, std::span<const ValueId> inputs) const override {
    const ValueId ids = single_input(context, kind(), inputs);
    const ValueId table = context.parameter("embeddings", {options_.input_dim, options_.output_dim},
                                            options_.embeddings_initializer, true);
    return embedding(context.graph, table, ids, context.node_name(""));
  }

 private:
  EmbeddingOptions options_;
};

}  // namespace

LayerPtr embedding(const EmbeddingOptions& options) {
  check_input(options.input_dim >= 1 && options.output_dim >= 1, "embedding: input_dim is ",
              options.input_dim, " and output_dim ", options.output_dim, ", expected 1 or more");
  return std::make_shared<EmbeddingLayer>(options);
}

void register_embedding_layer(LayerRegistry& registry) {
  registry.add("embedding", [](Settings& settings) {
    EmbeddingOptions options;
    auto extent = [&](const char* key) {
      const std::int64_t value = settings.integer(key);
      if (value < 1) settings.refuse(key, text("is ", value, ", expected 1 or more"));
      return value;
    };
    options.input_dim = extent("input_dim");
    options.output_dim = extent("output_dim");
    options.embeddings_initializer.kind =
        settings.choice("embeddings_initializer", Initializer::kinds(), "uniform");
    return embedding(options);
  });
}

}  // namespace lockstep
