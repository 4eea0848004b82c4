// A graph of values and nodes in topological order: the order of the nodes is the order in which they
// may run. A graph is a value: copying it copies the structure and shares the (immutable) ops.
//
//   Graph graph;
//   ValueId x = graph.input("x", {DType::kF32, {32, 64}});
//   ValueId w = graph.state("fc/weight", {DType::kF32, {64, 10}});
//   graph.output("logits", matmul(graph, x, w));
//   graph.verify();
//
// Not thread-safe while it is changed.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "core/base/progress.h"
#include "core/graph/op.h"

namespace lockstep {

enum class ValueKind {
  kInput,   // written from outside before each run
  kState,   // lives across runs: parameters, moments, running statistics
  kResult,  // computed by a node
};

struct Value {
  std::string name;
  TensorType type;
  ValueKind kind = ValueKind::kResult;
  NodeId producer = -1;  // for kResult
  int producer_output = 0;
};

struct Node {
  std::shared_ptr<const Op> op;
  std::string name;
  std::vector<ValueId> inputs, outputs;
  Phase phase = Phase::kForward;  // what part of a step it belongs to: for reports, no pass asks
};

class Graph {
 public:
  ValueId input(const std::string& name, const TensorType& type);
  ValueId state(const std::string& name, const TensorType& type);

  // Appends a node after checking it against the op's shape rule. Errors are bad_input
  // "NAME (OP): ...". Returns the node's outputs.
  const std::vector<ValueId>& add_node(std::shared_ptr<const Op> op, std::vector<ValueId> inputs,
                                       const std::string& name);
  // The same for an op with one output. An empty name becomes "<op>_<number>".
  ValueId add(std::shared_ptr<const Op> op, std::vector<ValueId> inputs,
              const std::string& name = "");

  // The phase of the nodes that are added from now on.
  void set_phase(Phase phase) { phase_ = phase; }

  // Marks a value to be read after a run. Names are unique.
  void output(const std::string& name, ValueId value);
  // kNoValue where there is none of that name.
  ValueId find_output(const std::string& name) const;
  ValueId find_input(const std::string& name) const;
  ValueId find_state(const std::string& name) const;

  const std::vector<Value>& values() const { return values_; }
  const std::vector<Node>& nodes() const { return nodes_; }
  const std::vector<std::pair<std::string, ValueId>>& outputs() const { return outputs_; }
  const Value& value(ValueId id) const;
  const Node& node(NodeId id) const;
  const TensorType& type(ValueId id) const { return value(id).type; }
  // The types of several values, in order.
  std::vector<TensorType> types(const std::vector<ValueId>& ids) const;

  // Gives the results of a node other layouts than the shape rule says (the layout pass only).
  void set_layout(ValueId id, std::shared_ptr<const Layout> layout);

  // For every value, the nodes that read it, in order.
  std::vector<std::vector<NodeId>> readers() const;

  // Throws broken_invariant naming the node where the graph is not well formed: inputs are defined before
  // use, types agree with the shape rules, names of inputs, states and outputs are unique, and no node
  // reads an old value after a node that overwrites its memory (nodes that overwrite it again may).
  void verify() const;

  // One line per input, state, node and output; stable, for tests and --print-after:
  //   %3 f32(32, 10) = dense(%0, %1) "fc"
  std::string to_string() const;

 private:
  std::vector<Value> values_;
  std::vector<Node> nodes_;
  std::vector<std::pair<std::string, ValueId>> outputs_;
  Phase phase_ = Phase::kForward;
};

// Copies `from` node by node into a new graph; the passes are written with it. `emit` is called for each
// node with the values that its inputs became; it adds what it likes to `to` and returns the values
// that the outputs became (kNoValue for an output that is gone). copy_node is the identity.
class GraphCopy {
 public:
  explicit GraphCopy(const Graph& from);

  Graph& to() { return to_; }
  const Graph& from() const { return from_; }
  // The value that `old_value` became.
  ValueId operator[](ValueId old_value) const;
  void map(ValueId old_value, ValueId new_value);
  std::vector<ValueId> mapped(const std::vector<ValueId>& old_values) const;
  // What is added to the new graph from now on stands for this node: it has its phase.
  void begin(NodeId id) { to_.set_phase(from_.node(id).phase); }
  // Adds the node with its mapped inputs, and maps its outputs.
  void copy_node(NodeId id);
  // Marks the outputs of `from` in the new graph and returns it. Call it last.
  Graph finish();

 private:
  const Graph& from_;
  Graph to_;
  std::vector<ValueId> map_;
};

}  // namespace lockstep
