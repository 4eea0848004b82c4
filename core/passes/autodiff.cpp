#include "core/passes/autodiff.h"

#include "core/base/error.h"
#include "core/builtin/builtin.h"

namespace lockstep {
namespace {

class NodeBackward final : public Backward {
 public:
  NodeBackward(Graph& graph, NodeId node, const std::vector<bool>& needed,
               std::vector<ValueId>& cotangents)
      : graph_(graph),
        node_(graph.node(node)),
        needed_(needed),
        cotangents_(cotangents),
        narrow_(node_.outputs.size(), kNoValue) {}

  Graph& graph() override { return graph_; }
  const Node& node() const override { return node_; }
  std::string name() const override { return node_.name + "/gradient"; }
  ValueId wide_cotangent(int i) const override { return cotangents_[node_.outputs.at(i)]; }
  ValueId cotangent(int i) const override {
    const ValueId wide = wide_cotangent(i);
    if (wide != kNoValue && narrow_[i] == kNoValue) {
      narrow_[i] = cast(graph_, wide, graph_.type(node_.outputs[i]).dtype, name());
    }
    return narrow_[i];
  }
  bool wants(int i) const override { return needed_[node_.inputs.at(i)]; }

  void accumulate(int i, ValueId cotangent) override {
    const ValueId to = node_.inputs.at(i);
    const TensorType expected = graph_.type(to), found = graph_.type(cotangent);
    const bool wide = found.dtype == DType::kF32 && expected.dtype == DType::kBF16;
    require((expected.dtype == found.dtype || wide) && expected.shape == found.shape, node_.name,
            ": the gradient of input ", i, " is ", found.to_string(), ", the input ",
            expected.to_string());
    ValueId& sum = cotangents_[to];
    if (sum == kNoValue) {
      sum = cotangent;
      return;
    }
    const std::string sum_name = graph_.value(to).name + "/gradient_sum";
    if (graph_.type(sum).dtype != found.dtype) {
      sum = cast(graph_, sum, DType::kF32, sum_name);
      cotangent = cast(graph_, cotangent, DType::kF32, sum_name);
    }
    sum = lockstep::accumulate(graph_, sum, cotangent, sum_name);
  }

 private:
  Graph& graph_;
  const Node node_;  // a copy: adding nodes moves the graph's own
  const std::vector<bool>& needed_;
  std::vector<ValueId>& cotangents_;
  mutable std::vector<ValueId> narrow_;  // by output: cotangent(), made when it is first asked for
};

// By value: whether it depends on one of `sources`.
std::vector<bool> depends_on(const Graph& graph, std::span<const ValueId> sources) {
  std::vector<bool> depends(graph.values().size(), false);
  for (const ValueId id : sources) depends.at(id) = true;
  for (const Node& node : graph.nodes()) {
    bool any = false;
    for (const ValueId id : node.inputs) any |= depends[id];
    for (const ValueId id : node.outputs) {
      depends[id] = depends[id] || (any && is_floating(graph.type(id).dtype));
    }
  }
  return depends;
}

}  // namespace

std::vector<ValueId> differentiate(Graph& graph, std::span<const ValueId> outputs,
                                   std::span<const ValueId> cotangents,
                                   std::span<const ValueId> with_respect_to) {
  require(outputs.size() == cotangents.size(), "differentiate: ", outputs.size(), " outputs and ",
          cotangents.size(), " cotangents");
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    require(graph.type(outputs[i]) == graph.type(cotangents[i]), "differentiate: the cotangent of ",
            graph.value(outputs[i]).name, " is ", graph.type(cotangents[i]).to_string(),
            ", the value ", graph.type(outputs[i]).to_string());
  }
  const std::vector<bool> needed = depends_on(graph, with_respect_to);
  std::vector<ValueId> gradient(graph.values().size(), kNoValue);
  const NodeId forward_nodes = static_cast<NodeId>(graph.nodes().size());
  graph.set_phase(Phase::kBackward);
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    ValueId& sum = gradient.at(outputs[i]);
    const std::string name = graph.value(outputs[i]).name + "/gradient_sum";
    sum = sum == kNoValue ? cotangents[i] : accumulate(graph, sum, cotangents[i], name);
  }
  for (NodeId id = forward_nodes - 1; id >= 0; --id) {
    const std::shared_ptr<const Op> op = graph.node(id).op;
    bool active = false, wanted = false;
    for (const ValueId value : graph.node(id).outputs) active |= gradient[value] != kNoValue;
    for (const ValueId value : graph.node(id).inputs) wanted |= needed[value];
    if (!active || !wanted) continue;
    NodeBackward backward(graph, id, needed, gradient);
    op->gradient(backward);
  }
  graph.set_phase(Phase::kForward);
  std::vector<ValueId> out;
  for (const ValueId id : with_respect_to) out.push_back(gradient.at(id));
  return out;
}

}  // namespace lockstep
