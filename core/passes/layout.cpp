#include "core/passes/layout.h"

#include <map>

#include "core/base/error.h"

namespace lockstep {
namespace {

using LayoutPtr = std::shared_ptr<const Layout>;

class LayoutPass {
 public:
  LayoutPass(const Graph& graph, const KernelRegistry& registry, Device& device,
             const ReorderBuilder& reorder)
      : graph_(graph), registry_(registry), device_(device), reorder_(reorder), copy_(graph) {}

  Graph run() {
    for (NodeId id = 0; id < static_cast<NodeId>(graph_.nodes().size()); ++id) {
      const Node& node = graph_.node(id);
      copy_.begin(id);
      if (!place_by_choice(node) && !place_elementwise(node)) place_row_major(node);
    }
    for (const auto& [name, id] : graph_.outputs()) copy_.map(id, form(copy_[id], nullptr));
    return copy_.finish();
  }

 private:
  // The value in the wanted layout: itself, a reorder made before, or a new one.
  ValueId form(ValueId value, const LayoutPtr& layout) {
    if (same_layout(copy_.to().type(value).layout, layout)) return value;
    for (const auto& [made_layout, made] : forms_[value]) {
      if (same_layout(made_layout, layout)) return made;
    }
    const ValueId made = reorder_(copy_.to(), value, layout);
    copy_.to().set_layout(made, layout);
    forms_[value].emplace_back(layout, made);
    forms_[made].emplace_back(copy_.to().type(value).layout, value);
    return made;
  }

  void add(const Node& node, const std::vector<LayoutPtr>& inputs,
           const std::vector<LayoutPtr>& outputs) {
    std::vector<ValueId> values = copy_.mapped(node.inputs);
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = form(values[i], inputs[i]);
    const std::vector<ValueId> results = copy_.to().add_node(node.op, values, node.name);
    for (std::size_t i = 0; i < results.size(); ++i) {
      copy_.to().set_layout(results[i], outputs[i]);
      copy_.map(node.outputs[i], results[i]);
    }
  }

  bool place_by_choice(const Node& node) {
    const KernelEntry* entry = registry_.find(node.op->name(), device_.kind());
    if (entry == nullptr || !entry->layouts) return false;
    const auto inputs = copy_.to().types(copy_.mapped(node.inputs));
    const auto outputs = graph_.types(node.outputs);
    const auto choice = choose(*entry, node, inputs, outputs);
    if (!choice) return false;
    require(choice->inputs.size() == inputs.size() && choice->outputs.size() == outputs.size(),
            node.name, ": its kernel names layouts for another number of values");
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      const bool overwritten = node.op->traits().overwrites(i);
      require(!overwritten || same_layout(choice->inputs[i], inputs[i].layout), node.name,
              ": its kernel overwrites input ", i, " and wants it in another layout");
    }
    add(node, choice->inputs, choice->outputs);
    return true;
  }

  // Asking a kernel is slow (it makes a primitive), and microbatches ask the same again and again.
  std::optional<LayoutChoice> choose(const KernelEntry& entry, const Node& node,
                                     const std::vector<TensorType>& inputs,
                                     const std::vector<TensorType>& outputs) {
    std::string key = node.op->to_string();
    for (const TensorType& type : inputs) key += " " + type.to_string();
    for (const Asked& asked : asked_[key]) {
      if (asked.inputs == inputs) return asked.choice;
    }
    try {
      asked_[key].push_back({inputs, entry.layouts({*node.op, inputs, outputs, device_})});
    } catch (const Error& error) {
      throw Error(error.kind(), text(node.name, ": ", error.what()));
    }
    return asked_[key].back().choice;
  }

  bool place_elementwise(const Node& node) {
    const Traits traits = node.op->traits();
    if (!traits.elementwise || traits.mutates != 0) return false;
    LayoutPtr layout;
    DType dtype = DType::kF32;
    for (const ValueId id : copy_.mapped(node.inputs)) {
      const TensorType& type = copy_.to().type(id);
      if (type.layout && !layout) {
        layout = type.layout;
        dtype = type.dtype;
      }
    }
    if (!layout || (layout->padded() && !traits.keeps_zero)) return false;
    for (const ValueId id : node.inputs) {
      if (graph_.type(id).dtype != dtype) return false;
    }
    for (const ValueId id : node.outputs) {
      if (graph_.type(id).dtype != dtype) return false;
    }
    add(node, std::vector<LayoutPtr>(node.inputs.size(), layout),
        std::vector<LayoutPtr>(node.outputs.size(), layout));
    return true;
  }

  void place_row_major(const Node& node) {
    add(node, std::vector<LayoutPtr>(node.inputs.size()),
        std::vector<LayoutPtr>(node.outputs.size()));
  }

  struct Asked {
    std::vector<TensorType> inputs;
    std::optional<LayoutChoice> choice;
  };

  const Graph& graph_;
  const KernelRegistry& registry_;
  Device& device_;
  const ReorderBuilder& reorder_;
  GraphCopy copy_;
  std::map<ValueId, std::vector<std::pair<LayoutPtr, ValueId>>> forms_;
  std::map<std::string, std::vector<Asked>> asked_;
};

}  // namespace

Graph choose_layouts(const Graph& graph, const KernelRegistry& registry, Device& device,
                     const ReorderBuilder& reorder) {
  return LayoutPass(graph, registry, device, reorder).run();
}

}  // namespace lockstep
