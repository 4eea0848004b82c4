#include "dist/distribute.h"

#include <algorithm>

#include "core/base/error.h"
#include "core/builtin/builtin.h"
#include "dist/exchange_ops.h"
#include "ops/binary/binary.h"
#include "ops/optimizers/gradient_ops.h"

namespace lockstep {
namespace {

// The states of the buckets in a new graph, and the views that are their slots.
class BucketStates {
 public:
  BucketStates(Graph& graph, const std::vector<Bucket>& buckets) : graph_(graph) {
    for (const Bucket& bucket : buckets) {
      states_.push_back(graph.state(bucket.state, {DType::kF32, {bucket.elements}, nullptr}));
      for (const BucketSlot& slot : bucket.slots) where_[slot.name] = {states_.back(), &slot};
    }
  }

  ValueId state(std::size_t bucket) const { return states_[bucket]; }

  // The value of a parameter or statistic; kNoValue where no bucket has it.
  ValueId view_of(const std::string& name) {
    const auto it = where_.find(name);
    if (it == where_.end()) return kNoValue;
    auto& [state, slot, made] = it->second;
    if (made == kNoValue) made = view(graph_, state, slot->shape, slot->offset, name);
    return made;
  }

 private:
  struct Where {
    ValueId state = kNoValue;
    const BucketSlot* slot = nullptr;
    ValueId made = kNoValue;
  };
  Graph& graph_;
  std::vector<ValueId> states_;
  std::map<std::string, Where> where_;
};

// Partial sums of one value over the microbatches of this rank, kept as maximal aligned subtrees.
class PartialSums {
 public:
  void add(Graph& graph, std::int64_t microbatch, ValueId value, const std::string& name) {
    TreeNode node{0, microbatch};
    while (!parts_.empty() && parts_.back().first.level == node.level && node.index % 2 == 1) {
      value = accumulate(graph, parts_.back().second, value, name);
      parts_.pop_back();
      node = {node.level + 1, node.index / 2};
    }
    parts_.emplace_back(node, value);
  }

  // The sum over all microbatches, where this rank has them all.
  ValueId finish(Graph& graph, std::int64_t microbatches, const std::string& name) const {
    std::vector<TreeNode> nodes;
    std::vector<ValueId> values = this->values();
    for (const auto& [node, value] : parts_) nodes.push_back(node);
    for (const TreeSum& sum : sums_to_root(nodes, microbatches)) {
      values[sum.left] = accumulate(graph, values[sum.left], values[sum.right], name);
    }
    return values[0];
  }

  std::vector<ValueId> values() const {
    std::vector<ValueId> out;
    for (const auto& [node, value] : parts_) out.push_back(value);
    return out;
  }

 private:
  std::vector<std::pair<TreeNode, ValueId>> parts_;
};

// What is looked up in a microbatch's graph, once for each size.
struct Source {
  const Graph* graph = nullptr;
  ValueId loss = kNoValue;
  // By bucket that is updated, and slot: the gradient or statistic, kNoValue where nothing depends on the parameter.
  std::vector<std::vector<ValueId>> contributions;
  // By bucket: the node after which all of them are there; -1 where there are none.
  std::vector<NodeId> ready_after;
  // Nodes whose result is a sum over all microbatches, in order.
  std::vector<NodeId> sums;

  Source(const Graph& from, std::span<const Bucket> buckets) : graph(&from) {
    const std::map<std::string, ValueId> outputs(from.outputs().begin(), from.outputs().end());
    loss = outputs.at("loss");
    for (const Bucket& bucket : buckets) {
      std::vector<ValueId> values;
      NodeId last = -1;
      for (const BucketSlot& slot : bucket.slots) {
        const auto it = outputs.find((bucket.is_statistics ? "statistic/" : "gradient/") + slot.name);
        require(it != outputs.end() || !bucket.is_statistics, slot.name,
                ": a statistic was not computed");
        values.push_back(it == outputs.end() ? kNoValue : it->second);
        if (it != outputs.end()) last = std::max(last, from.value(it->second).producer);
      }
      contributions.push_back(std::move(values));
      ready_after.push_back(last);
    }
    for (std::size_t id = 0; id < from.nodes().size(); ++id) {
      if (from.nodes()[id].op->traits().sums_microbatches) sums.push_back(static_cast<NodeId>(id));
    }
  }
};

class Distribute {
 public:
  Distribute(const std::map<std::int64_t, Graph>& microbatch_graphs,
             const std::vector<Bucket>& buckets, const Optimizer& optimizer,
             const DistributeOptions& options)
      : buckets_(updated_buckets(buckets)),
        optimizer_(optimizer),
        options_(options),
        cut_(options.samples, options.microbatches),
        states_(graph_, buckets),
        gradients_(buckets_.size()),
        reduced_(buckets_.size(), kNoValue) {
    for (const auto& [samples, graph] : microbatch_graphs) {
      sources_.emplace(samples, Source(graph, buckets_));
    }
  }

  Graph run() {
    add_inputs();
    const Range mine = cut_.of_rank(options_.rank, options_.world_size);
    for (std::int64_t m = mine.begin; m < mine.end; ++m) begin_microbatch(m);
    // Microbatches go one after another from one sum over all of them to the next.
    const Source& first = sources_.begin()->second;
    for (const auto& [samples, source] : sources_) {
      require(source.sums.size() == first.sums.size(), "microbatches of ", samples, " samples have other sums");
    }
    for (std::size_t sum = 0; sum <= first.sums.size(); ++sum) {
      for (Microbatch& microbatch : microbatches_) advance(microbatch, sum);
      if (microbatches_.empty()) reduce_without_microbatches(first, sum);
      if (sum < first.sums.size()) sum_over_microbatches(first, sum);
    }
    for (const Microbatch& microbatch : microbatches_) {
      losses_.add(graph_, microbatch.number,
                  view(graph_, microbatch.to.at(microbatch.source->loss), {1}, 0, microbatch.prefix + "loss"), "loss/sum");
    }
    const ValueId loss = reduce_loss();
    graph_.set_phase(Phase::kUpdate);
    const GradientScale scale = add_gradient_scale();
    // The next forward pass first needs the layers whose gradients came last.
    for (std::size_t b = buckets_.size(); b-- > 0;) add_update(b, scale.factor);
    graph_.output("loss", view(graph_, loss, {}, 0, "loss"));
    graph_.output("gradient_norm", scale.norm);
    return std::move(graph_);
  }

 private:
  bool alone() const { return options_.world_size == 1; }

  void add_inputs() {
    const std::int64_t samples =
        cut_.samples_of_rank(options_.rank, options_.world_size).size();
    const Graph& source = *sources_.begin()->second.graph;
    for (const Value& value : source.values()) {
      if (value.kind != ValueKind::kInput) continue;
      TensorType type = value.type;
      if (type.shape.rank() > 0) type.shape = type.shape.with(0, samples);
      inputs_[value.name] = graph_.input(value.name, type);
    }
    for (const auto& [name, dtype] :
         {std::pair("learning_rate", DType::kF32), std::pair("step", DType::kI64)}) {
      if (!inputs_.contains(name)) inputs_[name] = graph_.input(name, {dtype, {}, nullptr});
    }
  }

  // The value of an input or state of a microbatch's graph.
  ValueId leaf(const Value& value, Range samples) {
    if (value.kind == ValueKind::kState) {
      const ValueId slot = states_.view_of(value.name);
      require(slot != kNoValue, "state ", value.name, " is in no bucket");
      return slot;
    }
    const ValueId whole = inputs_.at(value.name);
    if (value.type.shape.rank() == 0) return whole;
    const std::int64_t row = value.type.shape.elements(1, value.type.shape.rank());
    const std::int64_t first = cut_.samples_of_rank(options_.rank, options_.world_size).begin;
    return view(graph_, whole, value.type.shape, (samples.begin - first) * row);
  }

  // A microbatch on its way into the new graph.
  struct Microbatch {
    std::int64_t number = 0;
    bool last = false;  // of this rank
    const Source* source = nullptr;
    std::string prefix;
    std::vector<ValueId> to;      // by value of its graph
    std::vector<bool> invariant;  // by value: the same for all microbatches
    NodeId next = -1;             // node that is copied next; -1: nothing was done
  };

  void begin_microbatch(std::int64_t m) {
    const Range samples = cut_.samples_of(m);
    const Range mine = cut_.of_rank(options_.rank, options_.world_size);
    const Source& source = sources_.at(samples.size());
    const std::size_t values = source.graph->values().size();
    Microbatch microbatch{.number = m,
                          .last = m + 1 == mine.end,
                          .source = &source,
                          .prefix = cut_.count == 1 ? "" : text("m", m, "/"),
                          .to = std::vector<ValueId>(values, kNoValue),
                          .invariant = std::vector<bool>(values, false)};
    for (std::size_t i = 0; i < values; ++i) {
      const Value& value = source.graph->values()[i];
      if (value.kind == ValueKind::kResult) continue;
      microbatch.invariant[i] = value.kind == ValueKind::kState;
      microbatch.to[i] = leaf(value, samples);
    }
    microbatches_.push_back(std::move(microbatch));
  }

  // The node before which the next sum over all microbatches stands, or the end.
  static NodeId end_of(const Source& source, std::size_t sum) {
    return sum < source.sums.size() ? source.sums[sum] : static_cast<NodeId>(source.graph->nodes().size());
  }

  // Copies the nodes before the sum of that number; closes the buckets whose gradients are there.
  void advance(Microbatch& microbatch, std::size_t sum) {
    const Source& source = *microbatch.source;
    const NodeId end = end_of(source, sum);
    for (; microbatch.next < end; ++microbatch.next) {
      if (microbatch.next >= 0) {
        copy_node(source.graph->node(microbatch.next), microbatch.prefix, microbatch.to, microbatch.invariant);
      }
      close_buckets(microbatch, microbatch.next);
    }
  }

  void close_buckets(const Microbatch& microbatch, NodeId after) {
    for (std::size_t b = 0; b < buckets_.size(); ++b) {
      if (microbatch.source->ready_after[b] == after) {
        close_bucket(b, *microbatch.source, microbatch.to, microbatch.number, microbatch.last, microbatch.prefix);
      }
    }
  }

  // The same exchanges in the same order for a rank that has nothing to add, but receives its chunks.
  void reduce_without_microbatches(const Source& source, std::size_t sum) {
    const NodeId begin = sum == 0 ? -1 : source.sums[sum - 1];
    for (NodeId id = begin; id < end_of(source, sum); ++id) {
      for (std::size_t b = 0; b < buckets_.size(); ++b) {
        if (source.ready_after[b] == id) reduced_[b] = reduce(gradients_[b], buckets_[b]);
      }
    }
  }

  // Every microbatch reads the sum of what each of them had.
  void sum_over_microbatches(const Source& first, std::size_t sum) {
    const Node& node = first.graph->node(first.sums[sum]);
    const Shape& shape = first.graph->type(node.outputs[0]).shape;
    const std::int64_t elements = shape.elements();
    graph_.set_phase(node.phase);
    PartialSums sums;
    for (const Microbatch& microbatch : microbatches_) {
      const Node& here = microbatch.source->graph->node(microbatch.source->sums[sum]);
      const ValueId flat = view(graph_, microbatch.to.at(here.inputs[0]), {elements}, 0, microbatch.prefix + here.name);
      sums.add(graph_, microbatch.number, flat, node.name + "/add");
    }
    ValueId total = kNoValue;
    if (alone()) {
      total = sums.finish(graph_, cut_.count, node.name);
    } else {
      const std::vector<Range> everything(static_cast<std::size_t>(options_.world_size), Range{0, elements});
      total = graph_.add(std::make_shared<TreeAllReduceOp>(exchange_plan(everything), elements), sums.values(), node.name);
    }
    total = view(graph_, total, shape, 0, node.name + "/whole");
    for (Microbatch& microbatch : microbatches_) {
      const NodeId id = microbatch.source->sums[sum];
      microbatch.to[microbatch.source->graph->node(id).outputs[0]] = total;
      close_buckets(microbatch, id);
      microbatch.next = id + 1;
    }
  }

  // A node of a microbatch. What reads states only, or nothing, is computed once and shared.
  void copy_node(const Node& node, const std::string& prefix, std::vector<ValueId>& to,
                 std::vector<bool>& invariant) {
    graph_.set_phase(node.phase);
    bool shared = !node.op->traits().side_effect && node.op->traits().mutates == 0;
    std::vector<ValueId> inputs;
    for (const ValueId input : node.inputs) {
      inputs.push_back(to[input]);
      shared = shared && invariant[input];
    }
    std::vector<ValueId> outputs;
    if (shared) {
      auto& made = shared_[{node.op->to_string(), inputs}];
      if (made.empty()) made = graph_.add_node(node.op, inputs, node.name);
      outputs = made;
    } else {
      outputs = graph_.add_node(node.op, inputs, prefix + node.name);
    }
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      to[node.outputs[i]] = outputs[i];
      invariant[node.outputs[i]] = shared;
    }
  }

  // Packs the gradients of a bucket as soon as the last of them is there; after the last microbatch its exchange
  // begins.
  void close_bucket(std::size_t b, const Source& source, const std::vector<ValueId>& to,
                    std::int64_t m, bool last, const std::string& prefix) {
    const Bucket& bucket = buckets_[b];
    const std::string name = "gradient/" + bucket.state;
    std::vector<ValueId> values;
    for (std::size_t i = 0; i < bucket.slots.size(); ++i) {
      const ValueId from = source.contributions[b][i];
      const std::string slot_name = prefix + "gradient/" + bucket.slots[i].name;
      if (from == kNoValue) {
        values.push_back(fill(graph_, {DType::kF32, bucket.slots[i].shape, nullptr}, 0, slot_name));
      } else {
        values.push_back(cast(graph_, to[from], DType::kF32, slot_name));
      }
      if (bucket.is_statistics) values.back() = shared_out(values.back(), m, slot_name);
    }
    gradients_[b].add(graph_, m, pack(graph_, values, prefix + name), name + "/sum");
    if (last) reduced_[b] = reduce(gradients_[b], bucket);
  }

  // A microbatch's share of a mean over all samples.
  ValueId shared_out(ValueId value, std::int64_t m, const std::string& name) {
    if (cut_.count == 1) return value;
    const double share = static_cast<double>(cut_.samples_of(m).size()) / cut_.samples;
    const ValueId factor = fill(graph_, {DType::kF32, {}, nullptr}, share, name + "/share");
    return multiply(graph_, value, factor, name + "/shared");
  }

  std::vector<Range> chunks_of(const Bucket& bucket) const {
    std::vector<Range> out;
    for (int rank = 0; rank < options_.world_size; ++rank) {
      out.push_back(bucket.chunk(rank, options_.world_size));
    }
    return out;
  }

  ExchangePlan exchange_plan(std::vector<Range> chunks) const {
    return {cut_.count, options_.rank, options_.nodes, std::move(chunks)};
  }

  ValueId reduce(const PartialSums& sums, const Bucket& bucket) {
    const std::string name = "gradient/" + bucket.state;
    if (alone()) return sums.finish(graph_, cut_.count, name);
    const ExchangePlan plan = exchange_plan(chunks_of(bucket));
    if (options_.fast) {
      const ValueId mine = sum_of_mine(sums.values(), bucket.elements, name);
      return graph_.add(std::make_shared<FastReduceOp>(plan, bucket.elements), {mine}, name);
    }
    return graph_.add(std::make_shared<TreeReduceOp>(plan, bucket.elements), sums.values(), name);
  }

  ValueId sum_of_mine(const std::vector<ValueId>& parts, std::int64_t elements, const std::string& name) {
    if (parts.empty()) return fill(graph_, {DType::kF32, {elements}, nullptr}, 0, name + "/none");
    ValueId sum = parts[0];
    for (std::size_t i = 1; i < parts.size(); ++i) sum = accumulate(graph_, sum, parts[i], name + "/mine");
    return sum;
  }

  ValueId reduce_loss() {
    if (alone()) return losses_.finish(graph_, cut_.count, "loss/reduce");
    const std::vector<Range> everything(options_.world_size, Range{0, 1});
    return graph_.add(std::make_shared<TreeAllReduceOp>(exchange_plan(everything), 1), losses_.values(),
                      "loss/reduce");
  }

  // The norm is over parameters, not statistics.
  GradientScale add_gradient_scale() {
    std::vector<ValueId> sums;
    for (std::size_t b = 0; b < buckets_.size(); ++b) {
      if (buckets_[b].is_statistics) continue;
      ValueId blocks = square_sums(graph_, reduced_[b], begins_in_chunk(buckets_[b]),
                                   "norm/" + buckets_[b].state);
      if (!alone()) blocks = gather_blocks(blocks, buckets_[b]);
      sums.push_back(blocks);
    }
    if (sums.empty()) sums.push_back(fill(graph_, {DType::kF32, {1}, nullptr}, 0, "norm/none"));
    const ValueId all = sums.size() == 1 ? sums[0] : pack(graph_, sums, "norm/blocks");
    if (!options_.runs_ahead) return gradient_scale(graph_, all, options_.clip_norm, "norm");
    const ValueId halted = graph_.state("halted", {DType::kF32, {}, nullptr});
    return sticky_gradient_scale(graph_, all, halted, options_.clip_norm, "norm");
  }

  // Where the blocks of this rank's chunk begin, in the chunk.
  std::vector<std::int64_t> begins_in_chunk(const Bucket& bucket) const {
    const Range blocks = bucket.blocks_of(options_.rank, options_.world_size);
    const std::vector<std::int64_t> all = bucket.block_begins();
    std::vector<std::int64_t> out;
    for (std::int64_t b = blocks.begin; b <= blocks.end; ++b) out.push_back(all[b] - all[blocks.begin]);
    return out;
  }

  ValueId gather_blocks(ValueId blocks, const Bucket& bucket) {
    std::vector<Range> chunks;
    for (int rank = 0; rank < options_.world_size; ++rank) {
      chunks.push_back(bucket.blocks_of(rank, options_.world_size));
    }
    const std::int64_t count = chunks.back().end;
    return graph_.add(std::make_shared<AllGatherOp>(exchange_plan(std::move(chunks)), count),
                      {blocks}, "norm/gather/" + bucket.state);
  }

  void add_update(std::size_t b, ValueId scale) {
    const Bucket& bucket = buckets_[b];
    const Range chunk = bucket.chunk(options_.rank, options_.world_size);
    const ValueId state = states_.state(b);
    ValueId updated =
        view(graph_, state, {chunk.size()}, chunk.begin, bucket.state + "/chunk");
    if (chunk.size() > 0) updated = update_chunk(bucket, updated, reduced_[b], scale);
    if (alone()) return;
    graph_.add(std::make_shared<GatherStateOp>(exchange_plan(chunks_of(bucket)), options_.fast),
               {state, updated}, bucket.state + "/gather");
  }

  ValueId update_chunk(const Bucket& bucket, ValueId chunk, ValueId gradient, ValueId scale) {
    if (bucket.is_statistics) {
      return moving_average(graph_, chunk, gradient, scale, bucket.momentum,
                            bucket.state + "/update");
    }
    std::vector<ValueId> moments;
    for (const std::string& slot : optimizer_.slots()) {
      moments.push_back(graph_.state(bucket.moment(slot), graph_.type(chunk)));
    }
    return optimizer_.build(graph_, chunk, gradient, moments, inputs_.at("learning_rate"),
                            inputs_.at("step"), scale,
                            bucket.decay_segments(options_.rank, options_.world_size))[0];
  }

  std::map<std::int64_t, Source> sources_;  // by number of samples
  std::vector<Microbatch> microbatches_;    // of this rank
  const std::span<const Bucket> buckets_;  // without the frozen ones
  const Optimizer& optimizer_;
  const DistributeOptions& options_;
  const Microbatches cut_;
  Graph graph_;
  BucketStates states_;
  std::map<std::string, ValueId> inputs_;
  std::map<std::pair<std::string, std::vector<ValueId>>, std::vector<ValueId>> shared_;
  std::vector<PartialSums> gradients_;  // by bucket
  PartialSums losses_;
  std::vector<ValueId> reduced_;  // by bucket: the finished gradient of this rank's chunk
};

}  // namespace

Graph distribute(const std::map<std::int64_t, Graph>& microbatch_graphs,
                 const std::vector<Bucket>& buckets, const Optimizer& optimizer,
                 const DistributeOptions& options) {
  return Distribute(microbatch_graphs, buckets, optimizer, options).run();
}

Graph read_from_buckets(const Graph& graph, const std::vector<Bucket>& buckets) {
  Graph to;
  BucketStates states(to, buckets);
  std::vector<ValueId> map(graph.values().size(), kNoValue);
  for (std::size_t i = 0; i < map.size(); ++i) {
    const Value& value = graph.values()[i];
    if (value.kind == ValueKind::kInput) map[i] = to.input(value.name, value.type);
    if (value.kind == ValueKind::kState) map[i] = states.view_of(value.name);
    require(value.kind == ValueKind::kResult || map[i] != kNoValue, "state ", value.name,
            " is in no bucket");
  }
  for (const Node& node : graph.nodes()) {
    std::vector<ValueId> inputs;
    for (const ValueId input : node.inputs) inputs.push_back(map[input]);
    const auto& outputs = to.add_node(node.op, inputs, node.name);
    for (std::size_t i = 0; i < outputs.size(); ++i) map[node.outputs[i]] = outputs[i];
  }
  for (const auto& [name, id] : graph.outputs()) to.output(name, map[id]);
  return to;
}

}  // namespace lockstep
