#include "core/passes/mixed_precision.h"

#include <map>

#include "core/builtin/builtin.h"

namespace lockstep {
namespace {

// Casts of the new graph, one for each value and type.
class Casts {
 public:
  explicit Casts(Graph& graph) : graph_(graph) {}

  ValueId operator()(ValueId value, DType to) {
    const DType from = graph_.type(value).dtype;
    if (from == to || (from != DType::kF32 && from != DType::kBF16)) return value;
    const auto [it, is_new] = made_.try_emplace({value, to}, kNoValue);
    if (is_new) {
      const std::string name = graph_.value(value).name + "/" + std::string(name_of(to));
      it->second = cast(graph_, value, to, name);
    }
    return it->second;
  }

 private:
  Graph& graph_;
  std::map<std::pair<ValueId, DType>, ValueId> made_;
};

void cast_inputs(const Graph& graph, const Traits& traits, std::vector<ValueId>& inputs,
                 Casts& casts) {
  const Precision precision = traits.precision;
  if (inputs.empty() || precision == Precision::kAsIs) return;
  DType to = DType::kF32;
  if (precision == Precision::kLow) to = DType::kBF16;
  if (precision == Precision::kFollow) to = graph.type(inputs[0]).dtype;
  if (to != DType::kF32 && to != DType::kBF16) return;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    // In place of an overwritten input its cast would be overwritten.
    if (!traits.overwrites(i)) inputs[i] = casts(inputs[i], to);
  }
}

}  // namespace

Graph mixed_precision(const Graph& graph) {
  bool any_low = false;
  for (const Node& node : graph.nodes()) {
    any_low |= node.op->traits().precision == Precision::kLow;
  }
  if (!any_low) return graph;
  GraphCopy copy(graph);
  Graph& to = copy.to();
  Casts casts(to);
  for (NodeId id = 0; id < static_cast<NodeId>(graph.nodes().size()); ++id) {
    const Node& node = graph.node(id);
    copy.begin(id);
    std::vector<ValueId> inputs = copy.mapped(node.inputs);
    cast_inputs(to, node.op->traits(), inputs, casts);
    const std::vector<ValueId> outputs = to.add_node(node.op, inputs, node.name);
    for (std::size_t i = 0; i < outputs.size(); ++i) copy.map(node.outputs[i], outputs[i]);
  }
  for (const auto& [name, id] : graph.outputs()) {
    copy.map(id, casts(copy[id], graph.type(id).dtype));
  }
  return copy.finish();
}

}  // namespace lockstep
