#include "core/plan/lower.h"

#include <algorithm>
#include <limits>
#include <set>

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
  int first = 0,
      last = 0;  // nodes; `last` covers all reads of the values that were placed in it so far
  bool shared = false;  // a step reads or writes it that exchanges with other workers
};

// A value's place: a buffer and an offset in it.
struct Place {
  int buffer = -1;
  std::size_t offset = 0;
};

// The pack that a value is computed in, and where.
struct PackPlace {
  ValueId pack = kNoValue;
  std::size_t offset = 0;
};

constexpr NodeId kNever = std::numeric_limits<NodeId>::max();

// When memory is read last and overwritten (by the trait `mutates`) first.
struct MemoryUse {
  NodeId last_read = -1, first_overwritten = kNever;
};

class Lowering {
 public:
  Lowering(const Graph& graph, KernelCache& kernels, const LowerOptions& options)
      : graph_(graph),
        kernels_(kernels),
        options_(options),
        places_(graph.values().size()),
        pack_of_(graph.values().size()),
        last_use_(graph.values().size(), -1),
        owner_(graph.values().size(), kNoValue) {}

  Plan run() {
    find_last_uses();
    find_owners();
    find_packs();
    place_inputs_and_states();
    for (NodeId id = 0; id < node_count(); ++id) place_node(id);
    choose_streams();
    make_steps();
    return std::move(plan_);
  }

 private:
  int node_count() const { return static_cast<int>(graph_.nodes().size()); }

  // Last node that reads each value; outputs live to the end.
  void find_last_uses() {
    for (NodeId id = 0; id < node_count(); ++id) {
      for (const ValueId input : graph_.node(id).inputs) last_use_[input] = id;
    }
    for (const auto& [name, id] : graph_.outputs()) last_use_[id] = node_count();
  }

  // The value whose own memory `id` is when it is all of it: through reshapes to the producer's
  // result.
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

  // The value whose memory each value has by the rules of the graph (views, overwriting), before
  // any memory is saved; and for each such owner when its memory is read last and overwritten
  // first.
  void find_owners() {
    use_of_.resize(owner_.size());
    for (std::size_t v = 0; v < owner_.size(); ++v) {
      if (graph_.values()[v].kind != ValueKind::kResult) set_owner(v, v);
    }
    for (NodeId id = 0; id < node_count(); ++id) {
      const Node& node = graph_.node(id);
      const Traits traits = node.op->traits();
      for (std::size_t j = 0; j < node.outputs.size(); ++j) {
        ValueId from = node.outputs[j];
        if (traits.view) from = owner_[node.inputs[0]];
        const ValueId old = overwritten(node, traits, static_cast<int>(j));
        if (old != kNoValue) from = owner_[old];
        set_owner(node.outputs[j], from);
      }
      for (std::size_t i = 0; i < node.inputs.size(); ++i) {
        if (!traits.overwrites(i)) continue;
        MemoryUse& use = use_of_[owner_[node.inputs[i]]];
        use.first_overwritten = std::min(use.first_overwritten, id);
      }
    }
  }

  void set_owner(ValueId value, ValueId owner) {
    owner_[value] = owner;
    use_of_[owner].last_read = std::max(use_of_[owner].last_read, last_use_[value]);
  }

  // The input that output j of a node is the new value of; kNoValue where it is none.
  static ValueId overwritten(const Node& node, const Traits& traits, int j) {
    for (std::size_t i = 0; i < node.inputs.size(); ++i) {
      if (traits.overwrites(i) && j-- == 0) return node.inputs[i];
    }
    return kNoValue;
  }

  // Which values can be computed inside a later pack.
  void find_packs() {
    for (NodeId id = 0; id < node_count(); ++id) {
      const Node& node = graph_.node(id);
      if (!node.op->traits().pack) continue;
      std::size_t offset = 0;
      for (const ValueId input : node.inputs) {
        const ValueId source = whole(input);
        if (can_pack(source, node.outputs[0])) pack_of_[source] = {node.outputs[0], offset};
        offset += graph_.type(input).bytes();
      }
    }
  }

  // The source is all of its memory, its node may write anywhere, and what happens to the memory of
  // one of source and pack afterwards does not disturb the other.
  bool can_pack(ValueId source, ValueId pack) const {
    const Value& value = graph_.value(source);
    if (value.kind != ValueKind::kResult || value.type.layout) return false;
    if (pack_of_[source].pack != kNoValue || owner_[source] != source) return false;
    if (graph_.node(value.producer).op->traits().pack) return false;
    return use_of_[source].first_overwritten == kNever &&
           use_of_[source].last_read < use_of_[pack].first_overwritten;
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
    for (std::size_t j = 0; j < node.outputs.size(); ++j) {
      const ValueId output = node.outputs[j], old = overwritten(node, traits, static_cast<int>(j));
      if (traits.view) {
        places_[output] = {places_[node.inputs[0]].buffer,
                           places_[node.inputs[0]].offset + traits.view_offset};
      } else if (old != kNoValue) {
        places_[output] = places_[old];
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
      if (can_overwrite(node, input, id, graph_.type(output))) return places_[input];
    }
    return {new_buffer(Space::kArena, 0, bytes, id), 0};
  }

  // The input is all of a buffer of the arena that nobody needs after this node, and no other input
  // of the node lies in it.
  bool can_overwrite(const Node& node, ValueId input, NodeId id, const TensorType& output) const {
    const Place place = places_[input];
    const Buffer& buffer = buffers_[place.buffer];
    if (buffer.space != Space::kArena || buffer.last > id) return false;
    const TensorType& type = graph_.type(input);
    if (type.bytes() != buffer.bytes || output.bytes() != buffer.bytes) return false;
    if (size_of(type.dtype) != size_of(output.dtype)) return false;
    if (!same_layout(type.layout, output.layout)) return false;
    const auto same_memory = [&](ValueId other) { return places_[other].buffer == place.buffer; };
    return std::ranges::count_if(node.inputs, same_memory) == 1;
  }

  Place inside_pack(const PackPlace& at, NodeId id) {
    return {pack_buffer(at.pack, id), at.offset};
  }

  // The buffer of a pack exists from the first input that is computed in it.
  int pack_buffer(ValueId pack, NodeId id) {
    Place& place = places_[pack];
    if (place.buffer < 0) {
      place = {new_buffer(Space::kArena, 0, graph_.type(pack).bytes(), id), 0};
      const NodeId node = graph_.value(pack).producer;
      touch(pack, node);
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

  // Read and written, each value once.
  std::size_t bytes_of(const Node& node) const {
    std::size_t sum = 0;
    for (auto i = node.inputs.begin(); i != node.inputs.end(); ++i) {
      if (std::find(node.inputs.begin(), i, *i) == i) sum += graph_.type(*i).bytes();
    }
    for (const ValueId output : node.outputs) sum += graph_.type(output).bytes();
    return sum;
  }

  // ---- Streams ---------------------------------------------------------------------------------

  // Which nodes run on the communication stream, and what waits for them. A node that communicates goes there only where
  // there is enough work beside it until somebody needs what it does; otherwise changing threads costs more than it
  // hides, and it runs on the compute stream, after all before it on the communication stream.
  void choose_streams() {
    beside_.assign(node_count(), false);
    for (NodeId id = 0; id < node_count(); ++id) beside_[id] = options_.streams && graph_.node(id).op->traits().communicates;
    find_waits();
    const std::vector<double> work = work_before();
    for (NodeId id = 0; id < node_count(); ++id) {
      if (!beside_[id]) continue;
      const NodeId until = std::min(needed_at_[id], node_count());
      const bool outlives = needed_at_[id] > node_count();
      // What nobody in this run needs is hidden by the next run, which is as long as this one.
      const double hides = outlives ? work.back() : work[until] - work[id + 1];
      beside_[id] = hides >= options_.worth_another_thread &&
                    (!outlives || touched_bytes(id) >= options_.worth_hiding);
    }
    find_waits();
    for (NodeId id = 0; id < node_count(); ++id) {
      if (!graph_.node(id).op->traits().communicates) continue;
      for_each_buffer(id, [&](Buffer& buffer) {
        buffer.shared = true;
        if (beside_[id]) buffer.last = std::max(buffer.last, std::min(needed_at_[id], node_count()));
      });
    }
  }

  // Rough seconds of the nodes before each, for the choice of streams.
  std::vector<double> work_before() const {
    std::vector<double> out{0};
    for (NodeId id = 0; id < node_count(); ++id) {
      const Node& node = graph_.node(id);
      const Traits traits = node.op->traits();
      double seconds = 0;
      if (!traits.communicates && !traits.view) {
        const double flops = node.op->flops(graph_.types(node.inputs), graph_.types(node.outputs));
        seconds = std::max(flops / options_.flops, static_cast<double>(bytes_of(node)) / options_.bytes);
      }
      out.push_back(out.back() + seconds);
    }
    return out;
  }

  template <typename Body>
  void for_each_buffer(NodeId id, const Body& body) {
    const Node& node = graph_.node(id);
    for (const ValueId value : node.inputs) body(buffers_[places_[value].buffer]);
    for (const ValueId value : node.outputs) body(buffers_[places_[value].buffer]);
  }

  std::size_t touched_bytes(NodeId id) {
    std::size_t bytes = 0;
    for_each_buffer(id, [&](const Buffer& buffer) { bytes += buffer.bytes; });
    return bytes;
  }

  bool uses_arena(NodeId id) {
    bool any = false;
    for_each_buffer(id, [&](const Buffer& buffer) { any |= buffer.space == Space::kArena; });
    return any;
  }

  bool has_step(NodeId id) const {
    const Node& node = graph_.node(id);
    const Traits traits = node.op->traits();
    return !traits.view && !(traits.pack && packed_in_place(node));
  }

  // For each node of the compute stream the last one of the communication stream that has to be done before it: those that
  // used a buffer which it uses, and, where it communicates itself, all before it. For each node of the
  // communication stream the first node from which on it is known to be done: node_count() where only the end of the run
  // waits, kNever where nothing in this run does.
  void find_waits() {
    waits_for_.assign(node_count(), -1);
    needed_at_.assign(node_count(), kNever);
    std::vector<NodeId> used_by(buffers_.size(), -1);  // last node of the communication stream
    NodeId last_beside = -1;
    for (NodeId id = 0; id < node_count(); ++id) {
      if (beside_[id]) {
        last_beside = id;
        for_each_buffer(id, [&](const Buffer& buffer) { used_by[&buffer - buffers_.data()] = id; });
        continue;
      }
      if (!has_step(id)) continue;
      NodeId& wait = waits_for_[id];
      for_each_buffer(id, [&](const Buffer& buffer) {
        wait = std::max(wait, used_by[&buffer - buffers_.data()]);
      });
      if (graph_.node(id).op->traits().communicates) wait = last_beside;
    }
    NodeId at_end = -1;
    for (NodeId id = 0; id < node_count(); ++id) {
      if (beside_[id] && uses_arena(id)) at_end = id;
    }
    // From the end: the stream runs in order, so who waits for a node waits for all before it.
    for (NodeId id = 0; id <= at_end; ++id) needed_at_[id] = node_count();
    for (NodeId id = node_count(); id-- > 0;) {
      for (NodeId before = waits_for_[id]; before >= 0; --before) {
        if (needed_at_[before] <= id) break;
        needed_at_[before] = id;
      }
    }
    waits_at_end_ = at_end;
  }

  // Communication steps of the stream among the nodes [0, id].
  int steps_beside(NodeId id) const {
    return static_cast<int>(std::count(beside_.begin(), beside_.begin() + id + 1, true));
  }

  // The states that a step uses before any communication step of this run did.
  std::vector<int> first_uses_of_states(NodeId id) {
    std::vector<int> out;
    for_each_buffer(id, [&](const Buffer& buffer) {
      if (buffer.space == Space::kState && states_used_.insert(buffer.index).second) out.push_back(buffer.index);
    });
    return out;
  }

  // ---- Steps -----------------------------------------------------------------------------------

  void make_steps() {
    std::vector<LiveRange> ranges, shared_ranges;
    std::vector<int> range_of(buffers_.size(), -1);
    for (std::size_t b = 0; b < buffers_.size(); ++b) {
      if (buffers_[b].space != Space::kArena) continue;
      std::vector<LiveRange>& list = buffers_[b].shared ? shared_ranges : ranges;
      range_of[b] = static_cast<int>(list.size());
      list.push_back({buffers_[b].bytes, buffers_[b].first, buffers_[b].last});
    }
    std::vector<int> workspace_range;
    for (NodeId id = 0; id < node_count(); ++id) {
      const Node& node = graph_.node(id);
      if (!has_step(id)) continue;
      Step step;
      step.name = node.name;
      step.op = node.op->to_string();
      const auto inputs = graph_.types(node.inputs), outputs = graph_.types(node.outputs);
      try {
        step.kernel = kernels_.get(*node.op, inputs, outputs);
      } catch (const Error& error) {
        throw Error(error.kind(), text(node.name, ": ", error.what()));
      }
      step.phase = node.op->traits().communicates ? Phase::kExchange : node.phase;
      if (beside_[id]) {
        step.stream = StreamKind::kCommunication;
      } else {
        step.waits_for = waits_for_[id] < 0 ? 0 : steps_beside(waits_for_[id]);
        step.waits_for_states = first_uses_of_states(id);
      }
      step.flops = node.op->flops(inputs, outputs);
      step.bytes = bytes_of(node);
      workspace_range.push_back(-1);
      if (step.kernel->workspace_bytes > 0) {
        workspace_range.back() = static_cast<int>(ranges.size());
        const NodeId last = beside_[id] ? std::min(needed_at_[id], node_count()) : id;
        ranges.push_back({step.kernel->workspace_bytes, id, last});
      }
      step_nodes_.push_back(id);
      plan_.steps.push_back(std::move(step));
    }
    const MemoryLayout layout = plan_memory(ranges), shared_layout = plan_memory(shared_ranges);
    plan_.arena_bytes = layout.peak;
    plan_.shared_arena_bytes = shared_layout.peak;
    plan_.largest_live_bytes = largest_live_set(ranges) + largest_live_set(shared_ranges);
    plan_.communication_steps = node_count() == 0 ? 0 : steps_beside(node_count() - 1);
    plan_.waits_for_at_end = waits_at_end_ < 0 ? 0 : steps_beside(waits_at_end_);
    auto ref = [&](ValueId value) -> BufferRef {
      const Place place = places_[value];
      const Buffer& buffer = buffers_[place.buffer];
      if (buffer.space != Space::kArena) return {buffer.space, buffer.index, place.offset};
      const MemoryLayout& from = buffer.shared ? shared_layout : layout;
      return {buffer.shared ? Space::kSharedArena : Space::kArena, 0,
              from.offsets[range_of[place.buffer]] + place.offset};
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
  const LowerOptions options_;
  std::vector<Place> places_;
  std::vector<PackPlace> pack_of_;
  std::vector<int> last_use_;
  std::vector<ValueId> owner_;
  std::vector<MemoryUse> use_of_;  // by owner
  std::vector<Buffer> buffers_;
  std::vector<NodeId> step_nodes_;
  std::vector<bool> beside_;       // by node: runs on the communication stream
  std::vector<NodeId> waits_for_;  // by node
  std::vector<NodeId> needed_at_;  // by node of the communication stream
  NodeId waits_at_end_ = -1;
  std::set<int> states_used_;
  Plan plan_;
};

}  // namespace

Plan lower(const Graph& graph, KernelCache& kernels, const LowerOptions& options) {
  return Lowering(graph, kernels, options).run();
}

}  // namespace lockstep
