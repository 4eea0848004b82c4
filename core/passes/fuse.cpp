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

// Every output of a node that vanishes must be dead or stand among the outputs of the fusion, and
// the values that the fusion hands out must not be read before the root.
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

// One pass of one pattern over all nodes.
class Sweep {
 public:
  Sweep(const Graph& graph, const FusionPattern& pattern)
      : graph_(graph),
        pattern_(pattern),
        readers_(graph.readers()),
        is_output_(graph.values().size(), false),
        taken_(graph.nodes().size(), false),
        at_root_(graph.nodes().size()),
        moved_(graph.values().size(), false),
        used_(graph.values().size(), false) {
    for (const auto& [name, id] : graph.outputs()) is_output_[id] = true;
  }

  // The new graph, or nothing where no fusion was found.
  std::optional<Graph> run() {
    bool any = false;
    for (NodeId id = node_count() - 1; id >= 0; --id) any |= match(id);
    if (!any) return std::nullopt;
    GraphCopy copy(graph_);
    for (NodeId id = 0; id < node_count(); ++id) {
      if (at_root_[id]) {
        add_fusion(copy, id);
      } else if (!is_absorbed(id)) {
        copy.copy_node(id);
      }
    }
    return copy.finish();
  }

 private:
  NodeId node_count() const { return static_cast<NodeId>(graph_.nodes().size()); }
  bool is_absorbed(NodeId id) const { return taken_[id] && !at_root_[id]; }

  bool match(NodeId id) {
    if (taken_[id]) return false;
    const FusionSite site{graph_, id, readers_, is_output_, taken_};
    std::optional<Fusion> fusion = pattern_.match(site);
    if (!fusion) return false;
    check_fusion(site, *fusion, pattern_.name);
    if (disturbs_others(id, *fusion)) return false;  // the next sweep may match here
    for (const NodeId part : parts(id, *fusion)) {
      taken_[part] = true;
      for (const ValueId value : graph_.node(part).outputs) moved_[value] = true;
    }
    for (const ValueId value : fusion->inputs) used_[value] = true;
    at_root_[id] = std::move(fusion);
    return true;
  }

  static std::vector<NodeId> parts(NodeId root, const Fusion& fusion) {
    std::vector<NodeId> out = fusion.absorbed;
    out.push_back(root);
    return out;
  }

  // A fused op may read values that its nodes did not read before. Another fusion of this sweep
  // must not compute them later now, or not at all, and this one must not take away what another
  // reads.
  bool disturbs_others(NodeId root, const Fusion& fusion) const {
    for (const ValueId value : fusion.inputs) {
      if (moved_[value]) return true;
    }
    for (const NodeId part : parts(root, fusion)) {
      for (const ValueId value : graph_.node(part).outputs) {
        const bool kept = std::ranges::find(fusion.outputs, value) != fusion.outputs.end();
        if (used_[value] && !kept) return true;
      }
    }
    return false;
  }

  void add_fusion(GraphCopy& copy, NodeId id) const {
    const Fusion& fusion = *at_root_[id];
    copy.begin(id);
    const std::vector<ValueId> outputs =
        copy.to().add_node(fusion.op, copy.mapped(fusion.inputs), graph_.node(id).name);
    require(outputs.size() == fusion.outputs.size(), pattern_.name, ": the fused op has ",
            outputs.size(), " outputs, the pattern names ", fusion.outputs.size());
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      const TensorType& was = graph_.type(fusion.outputs[i]);
      const TensorType& is = copy.to().type(outputs[i]);
      require(is == was, pattern_.name, ": ", graph_.value(fusion.outputs[i]).name, " was ",
              was.to_string(), ", the fused op makes it ", is.to_string());
      copy.map(fusion.outputs[i], outputs[i]);
    }
  }

  const Graph& graph_;
  const FusionPattern& pattern_;
  const std::vector<std::vector<NodeId>> readers_;
  std::vector<bool> is_output_;
  std::vector<bool> taken_;                     // by node: part of a fusion
  std::vector<std::optional<Fusion>> at_root_;  // by node
  std::vector<bool> moved_;                     // by value: computed by a node that is taken
  std::vector<bool> used_;                      // by value: input of a fused op
};

}  // namespace

Graph fuse(const Graph& graph, const std::vector<FusionPattern>& patterns) {
  Graph fused = graph;
  for (const FusionPattern& pattern : patterns) {
    while (std::optional<Graph> next = Sweep(fused, pattern).run()) fused = *std::move(next);
  }
  return fused;
}

}  // namespace lockstep
