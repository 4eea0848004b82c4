#include "core/passes/fuse.h"

#include <algorithm>

#include "core/base/error.h"

namespace lockstep {

const Node* FusionSite::producer(const Node& node, int i) const {
  const Value& value = graph.value(node.inputs.at(i));
  return value.kind == ValueKind::kResult ? &graph.node(value.producer) : nullptr;
}

bool FusionSite::only_read_by(ValueId value, NodeId reader) const {
  const Value& v = graph.value(value);
  return v.kind == ValueKind::kResult && !taken[v.producer] && !is_output[value] &&
         readers[value].size() == 1 && readers[value][0] == reader;
}

namespace {

// Every output of a node that vanishes must be dead or stand among the outputs of the fusion, and the values
// that the fusion hands out must not be read before the root.
void check_fusion(const FusionSite& site, const Fusion& fusion, const std::string& pattern) {
  auto vanishes = [&](NodeId id) {
    return id == site.root || std::ranges::find(fusion.absorbed, id) != fusion.absorbed.end();
  };
  auto check_node = [&](NodeId id) {
    require(!site.taken[id], pattern, ": ", site.graph.node(id).name, " is part of another fusion");
    for (const ValueId value : site.graph.node(id).outputs) {
      const bool kept = std::ranges::find(fusion.outputs, value) != fusion.outputs.end();
      for (const NodeId reader : site.readers[value]) {
        require(vanishes(reader) || (kept && reader > site.root), pattern, ": ",
                site.graph.value(value).name, " is still read");
      }
      require(kept || !site.is_output[value], pattern, ": ", site.graph.value(value).name,
              " is an output");
    }
  };
  check_node(site.root);
  for (const NodeId id : fusion.absorbed) check_node(id);
}

// One sweep of one pattern. Returns whether anything matched.
bool sweep(Graph& graph, const FusionPattern& pattern) {
  const auto readers = graph.readers();
  std::vector<bool> is_output(graph.values().size(), false);
  for (const auto& [name, id] : graph.outputs()) is_output[id] = true;
  std::vector<bool> taken(graph.nodes().size(), false);
  std::vector<std::optional<Fusion>> at_root(graph.nodes().size());
  std::vector<bool> gone(graph.nodes().size(), false);
  bool any = false;
  for (NodeId id = static_cast<NodeId>(graph.nodes().size()) - 1; id >= 0; --id) {
    if (taken[id]) continue;
    const FusionSite site{graph, id, readers, is_output, taken};
    std::optional<Fusion> fusion = pattern.match(site);
    if (!fusion) continue;
    check_fusion(site, *fusion, pattern.name);
    taken[id] = true;
    for (const NodeId absorbed : fusion->absorbed) taken[absorbed] = gone[absorbed] = true;
    at_root[id] = std::move(fusion);
    any = true;
  }
  if (!any) return false;
  GraphCopy copy(graph);
  for (NodeId id = 0; id < static_cast<NodeId>(graph.nodes().size()); ++id) {
    if (gone[id]) continue;
    if (!at_root[id]) {
      copy.copy_node(id);
      continue;
    }
    const Fusion& fusion = *at_root[id];
    const auto& outputs =
        copy.to().add_node(fusion.op, copy.mapped(fusion.inputs), graph.node(id).name);
    require(outputs.size() == fusion.outputs.size(), pattern.name, ": the fused op has ",
            outputs.size(), " outputs, the pattern names ", fusion.outputs.size());
    for (std::size_t i = 0; i < outputs.size(); ++i) copy.map(fusion.outputs[i], outputs[i]);
  }
  graph = copy.finish();
  return true;
}

}  // namespace

Graph fuse(const Graph& graph, const std::vector<FusionPattern>& patterns) {
  Graph fused = graph;
  for (const FusionPattern& pattern : patterns) {
    while (sweep(fused, pattern)) {
    }
  }
  return fused;
}

}  // namespace lockstep
