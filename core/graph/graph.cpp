#include "core/graph/graph.h"

#include <set>

#include "core/base/error.h"

namespace lockstep {

// ---- Op and Backward ---------------------------------------------------------------------------

void Op::gradient(Backward&) const {}

double Op::flops(std::span<const TensorType>, std::span<const TensorType> outputs) const {
  double elements = 0;
  for (const TensorType& type : outputs) elements += static_cast<double>(type.elements());
  return elements;
}

std::string Op::to_string() const {
  const std::string attributes = this->attributes();
  return attributes.empty() ? std::string(name()) : text(name(), "[", attributes, "]");
}

ValueId Backward::input(int i) const {
  return node().inputs.at(i);
}
ValueId Backward::output(int i) const {
  return node().outputs.at(i);
}

// ---- Building ----------------------------------------------------------------------------------

ValueId Graph::input(const std::string& name, const TensorType& type) {
  values_.push_back({name, type, ValueKind::kInput, -1, 0});
  return static_cast<ValueId>(values_.size()) - 1;
}

ValueId Graph::state(const std::string& name, const TensorType& type) {
  values_.push_back({name, type, ValueKind::kState, -1, 0});
  return static_cast<ValueId>(values_.size()) - 1;
}

const std::vector<ValueId>& Graph::add_node(std::shared_ptr<const Op> op,
                                            std::vector<ValueId> inputs, const std::string& name) {
  const NodeId id = static_cast<NodeId>(nodes_.size());
  Node node;
  node.name = name.empty() ? text(op->name(), "_", id) : name;
  node.phase = phase_;
  std::vector<TensorType> results;
  try {
    results = op->infer(types(inputs));
  } catch (const Error& error) {
    throw Error(error.kind(), text(node.name, " (", op->name(), "): ", error.what()));
  }
  for (std::size_t i = 0; i < results.size(); ++i) {
    const std::string value_name = results.size() == 1 ? node.name : text(node.name, ":", i);
    values_.push_back(
        {value_name, std::move(results[i]), ValueKind::kResult, id, static_cast<int>(i)});
    node.outputs.push_back(static_cast<ValueId>(values_.size()) - 1);
  }
  node.op = std::move(op);
  node.inputs = std::move(inputs);
  nodes_.push_back(std::move(node));
  return nodes_.back().outputs;
}

ValueId Graph::add(std::shared_ptr<const Op> op, std::vector<ValueId> inputs,
                   const std::string& name) {
  const std::vector<ValueId>& outputs = add_node(std::move(op), std::move(inputs), name);
  require(outputs.size() == 1, nodes_.back().name, ": an op with ", outputs.size(),
          " outputs was added as if it had one");
  return outputs[0];
}

void Graph::output(const std::string& name, ValueId value) {
  require(find_output(name) == kNoValue, "two graph outputs are called ", name);
  this->value(value);
  outputs_.emplace_back(name, value);
}

void Graph::set_layout(ValueId id, std::shared_ptr<const Layout> layout) {
  require(value(id).kind == ValueKind::kResult, value(id).name, ": only results have layouts");
  values_[id].type.layout = std::move(layout);
}

// ---- Looking up --------------------------------------------------------------------------------

const Value& Graph::value(ValueId id) const {
  require(id >= 0 && id < static_cast<ValueId>(values_.size()), "value %", id, " does not exist");
  return values_[id];
}

const Node& Graph::node(NodeId id) const {
  require(id >= 0 && id < static_cast<NodeId>(nodes_.size()), "node ", id, " does not exist");
  return nodes_[id];
}

std::vector<TensorType> Graph::types(const std::vector<ValueId>& ids) const {
  std::vector<TensorType> out;
  out.reserve(ids.size());
  for (const ValueId id : ids) out.push_back(type(id));
  return out;
}

ValueId Graph::find_output(const std::string& name) const {
  for (const auto& [output_name, id] : outputs_) {
    if (output_name == name) return id;
  }
  return kNoValue;
}

namespace {

ValueId find_by_name(const std::vector<Value>& values, ValueKind kind, const std::string& name) {
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (values[i].kind == kind && values[i].name == name) return static_cast<ValueId>(i);
  }
  return kNoValue;
}

}  // namespace

ValueId Graph::find_input(const std::string& name) const {
  return find_by_name(values_, ValueKind::kInput, name);
}

ValueId Graph::find_state(const std::string& name) const {
  return find_by_name(values_, ValueKind::kState, name);
}

std::vector<std::vector<NodeId>> Graph::readers() const {
  std::vector<std::vector<NodeId>> out(values_.size());
  for (std::size_t n = 0; n < nodes_.size(); ++n) {
    for (const ValueId id : nodes_[n].inputs) {
      if (out[id].empty() || out[id].back() != static_cast<NodeId>(n)) {
        out[id].push_back(static_cast<NodeId>(n));
      }
    }
  }
  return out;
}

// ---- Verify and print --------------------------------------------------------------------------

namespace {

void verify_names(const Graph& graph) {
  std::set<std::pair<ValueKind, std::string>> seen;
  for (const Value& value : graph.values()) {
    if (value.kind == ValueKind::kResult) continue;
    require(seen.insert({value.kind, value.name}).second, "two graph values are called ",
            value.name);
  }
}

// Watches which memory is overwritten. A value's memory is a range of bytes of its root: an input,
// a state, or a result that is neither a view nor the new value of something that was overwritten.
class OverwriteCheck {
 public:
  explicit OverwriteCheck(const Graph& graph) : graph_(graph), memory_(graph.values().size()) {
    for (std::size_t i = 0; i < memory_.size(); ++i) {
      memory_[i] = {static_cast<ValueId>(i), 0, graph.values()[i].type.bytes(), -1};
    }
  }

  // The first node since the value was computed that overwrote some of its memory; nullptr: none.
  const Node* overwritten_by(ValueId id) const {
    const Memory& memory = memory_[id];
    const auto writes = writes_.find(memory.root);
    if (writes == writes_.end()) return nullptr;
    for (const Memory& write : writes->second) {
      const bool overlap = write.begin < memory.end && memory.begin < write.end;
      if (overlap && write.since > memory.since) return &graph_.node(write.since);
    }
    return nullptr;
  }

  // Call it for the nodes in turn.
  void add(NodeId id) {
    const Node& node = graph_.node(id);
    const Traits traits = node.op->traits();
    if (traits.view) {
      const Memory from = memory_[node.inputs.at(0)];
      const std::size_t begin = from.begin + traits.view_offset;
      const ValueId view = node.outputs.at(0);
      memory_[view] = {from.root, begin, begin + graph_.type(view).bytes(), from.since};
    }
    std::size_t next_output = 0;
    for (std::size_t i = 0; i < node.inputs.size(); ++i) {
      if (!traits.overwrites(i)) continue;
      Memory memory = memory_[node.inputs[i]];
      memory.since = id;
      writes_[memory.root].push_back(memory);
      if (next_output < node.outputs.size()) memory_[node.outputs[next_output++]] = memory;
    }
  }

 private:
  struct Memory {
    ValueId root = kNoValue;
    std::size_t begin = 0, end = 0;  // bytes of the root
    NodeId since = -1;  // the node that wrote it; -1: before the run, or by the root's own
  };

  const Graph& graph_;
  std::vector<Memory> memory_;                     // by value
  std::map<ValueId, std::vector<Memory>> writes_;  // by root
};

void verify_types(const Graph& graph, const Node& node) {
  const std::vector<TensorType> expected = node.op->infer(graph.types(node.inputs));
  require(expected.size() == node.outputs.size(), node.name, ": has ", node.outputs.size(),
          " outputs, its op has ", expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const TensorType& found = graph.type(node.outputs[i]);
    require(found.shape == expected[i].shape && found.dtype == expected[i].dtype, node.name,
            ": output ", i, " is ", found.to_string(), ", its op says ", expected[i].to_string());
  }
}

}  // namespace

void Graph::verify() const {
  verify_names(*this);
  std::vector<bool> defined(values_.size(), false);
  for (std::size_t i = 0; i < values_.size(); ++i) {
    defined[i] = values_[i].kind != ValueKind::kResult;
  }
  OverwriteCheck overwrites(*this);
  for (NodeId id = 0; id < static_cast<NodeId>(nodes_.size()); ++id) {
    const Node& node = nodes_[id];
    const Traits traits = node.op->traits();
    for (std::size_t i = 0; i < node.inputs.size(); ++i) {
      const ValueId input = node.inputs[i];
      require(defined.at(input), node.name, ": reads %", input, " (", values_[input].name,
              ") before it is computed");
      if (traits.overwrites(i)) continue;
      const Node* by = overwrites.overwritten_by(input);
      require(by == nullptr, node.name, ": reads ", values_[input].name, " after ",
              by == nullptr ? "" : by->name, " has overwritten it");
    }
    verify_types(*this, node);
    for (const ValueId output : node.outputs) defined[output] = true;
    overwrites.add(id);
  }
  for (const auto& [name, id] : outputs_)
    require(defined.at(id), "output ", name, " is never computed");
}

std::string Graph::to_string() const {
  std::ostringstream out;
  for (std::size_t i = 0; i < values_.size(); ++i) {
    if (values_[i].kind == ValueKind::kResult) continue;
    out << '%' << i << ' ' << values_[i].type.to_string() << " = "
        << (values_[i].kind == ValueKind::kInput ? "input" : "state") << " \"" << values_[i].name
        << "\"\n";
  }
  for (const Node& node : nodes_) {
    for (std::size_t i = 0; i < node.outputs.size(); ++i) {
      out << (i > 0 ? ", " : "") << '%' << node.outputs[i] << ' '
          << type(node.outputs[i]).to_string();
    }
    out << " = " << node.op->to_string() << '(';
    for (std::size_t i = 0; i < node.inputs.size(); ++i) {
      out << (i > 0 ? ", %" : "%") << node.inputs[i];
    }
    out << ") \"" << node.name << "\"\n";
  }
  for (const auto& [name, id] : outputs_) out << "output \"" << name << "\" = %" << id << '\n';
  return out.str();
}

// ---- GraphCopy ---------------------------------------------------------------------------------

GraphCopy::GraphCopy(const Graph& from) : from_(from), map_(from.values().size(), kNoValue) {
  for (std::size_t i = 0; i < from.values().size(); ++i) {
    const Value& value = from.values()[i];
    if (value.kind == ValueKind::kInput) map_[i] = to_.input(value.name, value.type);
    if (value.kind == ValueKind::kState) map_[i] = to_.state(value.name, value.type);
  }
}

ValueId GraphCopy::operator[](ValueId old_value) const {
  const ValueId id = map_.at(old_value);
  require(id != kNoValue, "value ", from_.value(old_value).name, " was dropped but is still read");
  return id;
}

void GraphCopy::map(ValueId old_value, ValueId new_value) {
  map_.at(old_value) = new_value;
}

std::vector<ValueId> GraphCopy::mapped(const std::vector<ValueId>& old_values) const {
  std::vector<ValueId> out;
  out.reserve(old_values.size());
  for (const ValueId id : old_values) out.push_back((*this)[id]);
  return out;
}

void GraphCopy::copy_node(NodeId id) {
  begin(id);
  const Node& node = from_.node(id);
  const std::vector<ValueId>& outputs = to_.add_node(node.op, mapped(node.inputs), node.name);
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    map_[node.outputs[i]] = outputs[i];
    to_.set_layout(outputs[i], from_.type(node.outputs[i]).layout);
  }
}

Graph GraphCopy::finish() {
  for (const auto& [name, id] : from_.outputs()) to_.output(name, (*this)[id]);
  return std::move(to_);
}

}  // namespace lockstep
