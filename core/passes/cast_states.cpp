#include "core/passes/cast_states.h"

#include <map>

#include "core/builtin/builtin.h"

namespace lockstep {
namespace {

constexpr std::int64_t kAligned = 8;  // elements of bf16 that libraries load at once

class CastStates {
 public:
  explicit CastStates(const Graph& graph) : graph_(graph), copy_(graph) {}

  Graph run() {
    find_states();
    if (states_.empty()) return graph_;
    for (NodeId id = 0; id < static_cast<NodeId>(graph_.nodes().size()); ++id) {
      const Node& node = graph_.node(id);
      copy_.begin(id);
      if (is_cast(node) && is_part(node.inputs[0])) {
        copy_.map(node.outputs[0], low(node.inputs[0], node.name));
      } else {
        copy_with_low_vector(node);
      }
    }
    return copy_.finish();
  }

 private:
  static bool is_cast(const Node& node) {
    const auto* op = dynamic_cast<const CastOp*>(node.op.get());
    return op != nullptr && op->to() == DType::kBF16;
  }
  // The view that makes a value of a state; null where it is none.
  const ViewOp* view_of_state(ValueId value) const {
    const Value& part = graph_.value(value);
    if (part.kind != ValueKind::kResult) return nullptr;
    const Node& node = graph_.node(part.producer);
    const auto* view = dynamic_cast<const ViewOp*>(node.op.get());
    return view != nullptr && graph_.value(node.inputs[0]).kind == ValueKind::kState ? view : nullptr;
  }
  ValueId state_of(ValueId view) const { return graph_.node(graph_.value(view).producer).inputs[0]; }
  // Of a state that is cast.
  bool is_part(ValueId value) const { return view_of_state(value) != nullptr && states_.contains(state_of(value)); }

  void find_states() {
    struct Found {
      std::int64_t elements = 0;
      int casts = 0;
    };
    std::map<ValueId, Found> found;
    for (const Node& node : graph_.nodes()) {
      if (!is_cast(node) || view_of_state(node.inputs[0]) == nullptr) continue;
      Found& state = found[state_of(node.inputs[0])];
      state.elements += graph_.type(node.inputs[0]).elements();
      ++state.casts;
    }
    for (const auto& [state, parts] : found) {
      if (parts.casts > 1 && 2 * parts.elements >= graph_.type(state).elements()) states_.emplace(state, kNoValue);
    }
  }

  // The part in bf16, for what stands in its place.
  ValueId low(ValueId part, const std::string& name) {
    ValueId& whole = states_.at(state_of(part));
    if (whole == kNoValue) {
      const ValueId state = state_of(part);
      whole = cast(copy_.to(), copy_[state], DType::kBF16, graph_.value(state).name + "/bf16");
    }
    const ViewOp* view = view_of_state(part);
    return lockstep::view(copy_.to(), whole, view->shape(), view->offset(), name);
  }

  void copy_with_low_vector(const Node& node) {
    std::vector<ValueId> inputs = copy_.mapped(node.inputs);
    const int vector = node.op->traits().may_be_low;
    if (vector >= 0 && static_cast<std::size_t>(vector) < inputs.size() && graph_.type(node.inputs[0]).dtype == DType::kBF16) {
      const ValueId part = node.inputs[static_cast<std::size_t>(vector)];
      if (is_part(part) && view_of_state(part)->offset() % kAligned == 0) {
        const auto [known, is_new] = vectors_.try_emplace(part, kNoValue);
        if (is_new) known->second = low(part, graph_.value(part).name + "/bf16");
        inputs[static_cast<std::size_t>(vector)] = known->second;
      }
    }
    const std::vector<ValueId> outputs = copy_.to().add_node(node.op, inputs, node.name);
    for (std::size_t i = 0; i < outputs.size(); ++i) copy_.map(node.outputs[i], outputs[i]);
  }

  const Graph& graph_;
  GraphCopy copy_;
  std::map<ValueId, ValueId> states_;   // that are cast; and what they became, where that is there
  std::map<ValueId, ValueId> vectors_;  // parts that are read in bf16 instead of f32
};

}  // namespace

Graph cast_states(const Graph& graph) { return CastStates(graph).run(); }

}  // namespace lockstep
