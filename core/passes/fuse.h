// Replaces groups of nodes by fused ops. The patterns are declared in the rooms of the fused ops;
// the pass only walks.
//
// Before: any verified graph. After: wherever a pattern matched, its root node is replaced; nodes
// that nobody reads any more are left for eliminate_dead. Names of the outputs and all values that
// are read from outside stay.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "core/graph/graph.h"

namespace lockstep {

// What a pattern may ask about the graph that is being fused.
struct FusionSite {
  const Graph& graph;
  NodeId root;
  const std::vector<std::vector<NodeId>>& readers;  // Graph::readers()
  const std::vector<bool>& is_output;               // by value: marked as a graph output
  const std::vector<bool>& taken;                   // by node: already part of a fusion

  const Node& node() const { return graph.node(root); }
  // The node that computes input i of `node`; nullptr where it is an input or state.
  const Node* producer(const Node& node, int i) const;
  // The node that computes the value is read by `reader` only, and the value is no output: it can
  // vanish into the fusion.
  bool only_read_by(ValueId value, NodeId reader) const;
};

// The node that stands for the root (and for the nodes in `absorbed`, which only the fused op
// needed). outputs[j] says which value of the old graph output j of the new op replaces; every
// output of the root that is read must be among them.
struct Fusion {
  std::shared_ptr<const Op> op;
  std::vector<ValueId> inputs;   // values of the old graph, all computed before the root
  std::vector<ValueId> outputs;  // values of the old graph
  std::vector<NodeId> absorbed;
};

struct FusionPattern {
  std::string name;  // "conv2d+bias+activation"
  std::function<std::optional<Fusion>(const FusionSite&)> match;
};

// Applies each pattern in turn over all nodes, from the last to the first, until nothing matches.
Graph fuse(const Graph& graph, const std::vector<FusionPattern>& patterns);

}  // namespace lockstep
