#include "core/plan/lower.h"

#include <algorithm>

#include "core/base/error.h"
#include "core/plan/memory_planner.h"

namespace lockstep {

std::shared_ptr<const Kernel> KernelCache::get(const Op& op, const std::vector<TensorType>& inputs,
                                               const std::vector<TensorType>& outputs) {
  std::string key = op.to_string();
  for (const TensorType& type : inputs) key += " " + type.to_string();
  for (const TensorType& type : outputs) key += " " + type.to_string();
  std::vector<Made>& made = made_[key];
  for (const Made& entry : made) {
    if (entry.inputs == inputs && entry.outputs == outputs) return entry.kernel;
  }
  auto kernel = std::make_shared<const Kernel>(registry_.make({op, inputs, outputs, device_}));
  made.push_back({inputs, outputs, kernel});
  return kernel;
}

namespace {

using Space = BufferRef::Space;

// Memory that one or more values share: an input, a state, or a block of the arena.
struct Buffer {
  Space space = Space::kArena;
  int index = 0;
  std::size_t bytes = 0;
  int first = 0, last = 0;  // nodes
};

// A value's place: a buffer and an offset in it.
struct Place {
  int buffer = -1;
  std::size_t offset = 0;
};

class Lowering {
 public:
  Lowering(const Graph& graph, KernelCache& kernels)
      : graph_(graph),
        kernels_(kernels),
        places_(graph.values().size()),
        pack_of_(graph.values().size()),
        last_use_(graph.values().size(), -1) {}

  Plan run() {
    find_last_uses();
    find_packs();
    place_inputs_and_states();
    for (NodeId id = 0; id < node_count(); ++id) place_node(id);
    make_steps();
    return std::move(plan_);
  }

 private:
  int node_count() const { return static_cast<int>(graph_.nodes().size()); }

  // Last node that reads each value's memory, through views; outputs live to the end.
  void find_last_uses() {
    for (NodeId id = 0; id < node_count(); ++id) {
      for (const ValueId input : graph_.node(id).inputs) last_use_[input] = id;
    }
    for (const auto& [name, id] : graph_.outputs()) last_use_[id] = node_count();
  }

  // The value whose own memory `id` is when it is all of it: through reshapes to the producer's result.
  ValueId whole(ValueId id) const {
    while (graph_.value(id).kind == ValueKind::kResult) {
      const Node& node = graph_.node(graph_.value(id).producer);
      const Traits traits = node.op->traits();
      const bool all = traits.view && traits.view_offset == 0 &&
                       graph_.type(node.inputs[0]).elements() == graph_.type(id).elements();
      if (!all) break;
      id = node.inputs[0];
    }
    return id;
  }

  // Which values can be computed inside a later pack.
  void find_packs() {
    for (NodeId id = 0; id < node_count(); ++id) {
      const Node& node = graph_.node(id);
      if (!node.op->traits().pack) continue;
      std::size_t offset = 0;
      for (const ValueId input : node.inputs) {
        const ValueId source = whole(input);
        const Value& value = graph_.value(source);
        const bool own_memory = value.kind == ValueKind::kResult && !value.type.layout &&
                                pack_of_[source].pack == kNoValue;
        if (own_memory) {
          const Traits traits = graph_.node(value.producer).op->traits();
          if (!traits.view && !traits.pack && traits.mutates == 0) {
            pack_of_[source] = {node.outputs[0], offset};
          }
        }
        offset += graph_.type(input).bytes();
      }
    }
  }

  int new_buffer(Space space, int index, std::size_t bytes, int first) {
    buffers_.push_back({space, index, bytes, first, first});
    return static_cast<int>(buffers_.size()) - 1;
  }

  void place_inputs_and_states() {
    for (std::size_t i = 0; i < graph_.values().size(); ++i) {
      const Value& value = graph_.values()[i];
      if (value.kind == ValueKind::kResult) continue;
      const bool is_input = value.kind == ValueKind::kInput;
      std::vector<PlanValue>& list = is_input ? plan_.inputs : plan_.states;
      const int index = static_cast<int>(list.size());
      const Space space = is_input ? Space::kInput : Space::kState;
      list.push_back({value.name, value.type, {space, index, 0}});
      places_[i] = {new_buffer(space, index, value.type.bytes(), 0), 0};
    }
  }

  void place_node(NodeId id) {
    const Node& node = graph_.node(id);
    const Traits traits = node.op->traits();
    std::size_t mutated = 0;
    for (std::size_t j = 0; j < node.outputs.size(); ++j) {
      const ValueId output = node.outputs[j];
      if (traits.view) {
        places_[output] = {places_[node.inputs[0]].buffer,
                           places_[node.inputs[0]].offset + traits.view_offset};
      } else if (traits.mutates != 0) {
        while (mutated < node.inputs.size() && !(traits.mutates >> mutated & 1u)) ++mutated;
        require(mutated < node.inputs.size(), node.name, ": has more outputs than overwritten inputs");
        places_[output] = places_[node.inputs[mutated++]];
      } else {
        places_[output] = place_result(id, static_cast<int>(j), traits);
      }
      touch(output, id);
      touch(output, std::max(last_use_[output], id));
    }
    for (const ValueId input : node.inputs) touch(input, id);
  }

  Place place_result(NodeId id, int j, const Traits& traits) {
    const Node& node = graph_.node(id);
    const ValueId output = node.outputs[j];
    const std::size_t bytes = graph_.type(output).bytes();
    if (pack_of_[output].pack != kNoValue) return inside_pack(pack_of_[output], id);
    if (traits.pack) return {pack_buffer(output, id), 0};
    if (j == 0 && traits.may_overwrite >= 0) {
      const ValueId input = node.inputs.at(traits.may_overwrite);
      if (can_overwrite(node, input, id, bytes)) return places_[input];
    }
    return {new_buffer(Space::kArena, 0, bytes, id), 0};
  }

  // The input's memory is its own, dies here, and is no other input of the node.
  bool can_overwrite(const Node& node, ValueId input, NodeId id, std::size_t bytes) const {
    const Place place = places_[input];
    const Buffer& buffer = buffers_[place.buffer];
    if (buffer.space != Space::kArena || place.offset != 0 || buffer.bytes != bytes) return false;
    if (pack_buffers_.contains(place.buffer)) return false;
    for (std::size_t v = 0; v < places_.size(); ++v) {
      if (places_[v].buffer == place.buffer && last_use_[v] > id) return false;
    }
    const auto same_memory = [&](ValueId other) {
      return places_[other].buffer == place.buffer;
    };
    return std::ranges::count_if(node.inputs, same_memory) == 1;
  }

  struct PackPlace {
    ValueId pack = kNoValue;
    std::size_t offset = 0;
  };

  Place inside_pack(const PackPlace& at, NodeId id) {
    return {pack_buffer(at.pack, id), at.offset};
  }

  // The buffer of a pack exists from the first input that is computed in it.
  int pack_buffer(ValueId pack, NodeId id) {
    Place& place = places_[pack];
    if (place.buffer < 0) {
      place = {new_buffer(Space::kArena, 0, graph_.type(pack).bytes(), id), 0};
      pack_buffers_[place.buffer] = pack;
      const NodeId node = graph_.value(pack).producer;
      touch(pack, std::max(node, last_use_[pack]));
    }
    return place.buffer;
  }

  void touch(ValueId value, NodeId id) {
    Buffer& buffer = buffers_[places_[value].buffer];
    buffer.first = std::min(buffer.first, id);
    buffer.last = std::max(buffer.last, id);
  }

  // A pack whose inputs all lie in place needs no kernel.
  bool packed_in_place(const Node& node) const {
    std::size_t offset = 0;
    for (const ValueId input : node.inputs) {
      const Place place = places_[input];
      if (place.buffer != places_[node.outputs[0]].buffer || place.offset != offset) return false;
      offset += graph_.type(input).bytes();
    }
    return true;
  }

  void make_steps() {
    std::vector<LiveRange> ranges;
    std::vector<int> range_of(buffers_.size(), -1);
    for (std::size_t b = 0; b < buffers_.size(); ++b) {
      if (buffers_[b].space != Space::kArena) continue;
      range_of[b] = static_cast<int>(ranges.size());
      ranges.push_back({buffers_[b].bytes, buffers_[b].first, buffers_[b].last});
    }
    std::vector<int> workspace_range;
    for (NodeId id = 0; id < node_count(); ++id) {
      const Node& node = graph_.node(id);
      const Traits traits = node.op->traits();
      if (traits.view || (traits.pack && packed_in_place(node))) continue;
      Step step;
      step.name = node.name;
      step.op = node.op->to_string();
      const auto inputs = graph_.types(node.inputs), outputs = graph_.types(node.outputs);
      try {
        step.kernel = kernels_.get(*node.op, inputs, outputs);
      } catch (const Error& error) {
        throw Error(error.kind(), text(node.name, ": ", error.what()));
      }
      step.stream = traits.communicates ? StreamKind::kCommunication : StreamKind::kCompute;
      step.flops = node.op->flops(inputs, outputs);
      for (const TensorType& type : inputs) step.bytes += type.bytes();
      for (const TensorType& type : outputs) step.bytes += type.bytes();
      workspace_range.push_back(-1);
      if (step.kernel->workspace_bytes > 0) {
        workspace_range.back() = static_cast<int>(ranges.size());
        ranges.push_back({step.kernel->workspace_bytes, id, id});
      }
      step_nodes_.push_back(id);
      plan_.steps.push_back(std::move(step));
    }
    const MemoryLayout layout = plan_memory(ranges);
    plan_.arena_bytes = layout.peak;
    plan_.largest_live_bytes = largest_live_set(ranges);
    auto ref = [&](ValueId value) -> BufferRef {
      const Place place = places_[value];
      const Buffer& buffer = buffers_[place.buffer];
      const std::size_t base =
          buffer.space == Space::kArena ? layout.offsets[range_of[place.buffer]] : 0;
      return {buffer.space, buffer.index, base + place.offset};
    };
    for (std::size_t s = 0; s < plan_.steps.size(); ++s) {
      Step& step = plan_.steps[s];
      const Node& node = graph_.node(step_nodes_[s]);
      for (const ValueId input : node.inputs) step.inputs.push_back(ref(input));
      for (const ValueId output : node.outputs) step.outputs.push_back(ref(output));
      if (workspace_range[s] >= 0) {
        step.workspace = {Space::kArena, 0, layout.offsets[workspace_range[s]]};
      }
    }
    for (const auto& [name, id] : graph_.outputs()) {
      plan_.outputs.push_back({name, graph_.type(id), ref(id)});
    }
  }

  const Graph& graph_;
  KernelCache& kernels_;
  std::vector<Place> places_;
  std::vector<PackPlace> pack_of_;
  std::vector<int> last_use_;
  std::vector<Buffer> buffers_;
  std::map<int, ValueId> pack_buffers_;
  std::vector<NodeId> step_nodes_;
  Plan plan_;
};

}  // namespace

Plan lower(const Graph& graph, KernelCache& kernels) { return Lowering(graph, kernels).run(); }

}  // namespace lockstep
