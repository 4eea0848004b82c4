#include "core/passes/eliminate_dead.h"

namespace lockstep {

Graph eliminate_dead(const Graph& graph) {
  std::vector<bool> read(graph.values().size(), false), alive(graph.nodes().size(), false);
  for (const auto& [name, id] : graph.outputs()) read[id] = true;
  for (NodeId id = static_cast<NodeId>(graph.nodes().size()) - 1; id >= 0; --id) {
    const Node& node = graph.node(id);
    const Traits traits = node.op->traits();
    alive[id] = traits.side_effect || traits.mutates != 0;
    for (const ValueId output : node.outputs) alive[id] = alive[id] || read[output];
    if (!alive[id]) continue;
    for (const ValueId input : node.inputs) read[input] = true;
  }
  GraphCopy copy(graph);
  for (NodeId id = 0; id < static_cast<NodeId>(graph.nodes().size()); ++id) {
    if (alive[id]) copy.copy_node(id);
  }
  return copy.finish();
}

}  // namespace lockstep
