// The collectives of a step on host memory. What a run needs is prepared once; a run fills in pointers.
#include <algorithm>
#include <cstring>

#include "core/base/error.h"
#include "core/base/lanes.h"
#include "dist/exchange_ops.h"

namespace lockstep {
namespace {

constexpr std::int64_t kBlock = 2048;  // floats that are summed at a time: they stay in the first-level cache

std::size_t bytes_of(Range range) { return static_cast<std::size_t>(range.size()) * sizeof(float); }

// to = a + b.
void add_floats(float* to, const float* a, const float* b, std::int64_t count) {
  std::int64_t i = 0;
  for (; i + 16 <= count; i += 16) {
    Float8 a0, a1, b0, b1;
    load(a0, a + i);
    load(a1, a + i + 8);
    load(b0, b + i);
    load(b1, b + i + 8);
    store(to + i, a0 + b0);
    store(to + i + 8, a1 + b1);
  }
  for (; i < count; ++i) to[i] = a[i] + b[i];
}

// Sums of parts in a given order.
class SumProgram {
 public:
  SumProgram() = default;
  // Computes what ends at the positions `kept`, after `sums`.
  SumProgram(std::vector<TreeSum> sums, std::vector<int> kept, std::size_t parts)
      : sums_(std::move(sums)), kept_(std::move(kept)), at_(parts) {}

  std::size_t scratch_floats() const { return at_.size() * kBlock; }

  // `outputs` by kept position; `parts` in order. `scratch`: scratch_floats().
  void run(const float* const* parts, float* const* outputs, float* scratch, std::int64_t count) const {
    for (std::int64_t begin = 0; begin < count; begin += kBlock) {
      run_block(parts, outputs, scratch, begin, std::min(kBlock, count - begin));
    }
  }

 private:
  // A position's first sum reads its part; later ones read the scratch; the last one writes the output.
  void run_block(const float* const* parts, float* const* outputs, float* scratch, std::int64_t begin,
                 std::int64_t n) const {
    for (std::size_t p = 0; p < at_.size(); ++p) at_[p] = parts[p] + begin;
    for (std::size_t s = 0; s < sums_.size(); ++s) {
      const TreeSum& sum = sums_[s];
      float* to = scratch + sum.left * kBlock;
      if (last_of(s)) to = output_of(sum.left, outputs) + begin;
      add_floats(to, at_[sum.left], at_[sum.right], n);
      at_[sum.left] = to;
    }
    for (std::size_t k = 0; k < kept_.size(); ++k) {
      float* to = outputs[k] + begin;
      if (at_[kept_[k]] != to) copy_floats(to, at_[kept_[k]], n);
    }
  }

  // Whether sum `s` gives the final value of a kept position.
  bool last_of(std::size_t s) const {
    const int position = sums_[s].left;
    for (std::size_t later = s + 1; later < sums_.size(); ++later) {
      if (sums_[later].left == position || sums_[later].right == position) return false;
    }
    return std::ranges::find(kept_, position) != kept_.end();
  }

  float* output_of(int position, float* const* outputs) const {
    return outputs[std::ranges::find(kept_, position) - kept_.begin()];
  }

  std::vector<TreeSum> sums_;
  std::vector<int> kept_;
  mutable std::vector<const float*> at_;  // where the value of each position is
};

// ---- tree_reduce -------------------------------------------------------------------------------

class TreeReduce {
 public:
  TreeReduce(const ExchangePlan& plan, Communicator& communicator)
      : plan_(plan), communicator_(communicator), home_(plan.nodes[plan.rank]) {
    const std::vector<TreeNode> at_home = parts_of_node(home_);
    const MergedParts merged = merge_parts(at_home, plan.microbatches);
    merge_ = SumProgram(merged.sums, merged.kept, at_home.size());
    merged_parts_ = merged.nodes.size();
    prepare_borrowing();
    prepare_messages();
    prepare_finish(at_home);
    parts_.resize(std::max(at_home.size(), sources_.size()));
    outputs_.resize(std::max<std::size_t>(1, merged_parts_));
  }

  std::size_t workspace_bytes() const {
    return (scratch_floats() + merged_floats_ + arriving_parts_ * plan_.chunk().size()) * sizeof(float);
  }

  void run(const Launch& launch) const {
    for (std::size_t i = 0; i < offers_.size(); ++i) {
      offers_[i].data = launch.input<float>(offered_[i].part) + offered_[i].begin;
    }
    communicator_.borrow(offers_, borrows_, kWhat);
    float* scratch = static_cast<float*>(launch.workspace);
    float* arrived = exchange_merged(launch, scratch, scratch + scratch_floats());
    for (std::size_t p = 0; p < sources_.size(); ++p) {
      const Source& source = sources_[p];
      parts_[p] = source.home >= 0 ? home_part(launch, own_, source.home)
                                   : arrived + source.arrival * plan_.chunk().size();
    }
    outputs_[0] = launch.output<float>(0);
    finish_.run(parts_.data(), outputs_.data(), scratch, plan_.chunk().size());
    communicator_.give_back(kWhat);
  }

 private:
  static constexpr const char* kWhat = "reduction of gradients";

  // A partial sum of this node: one of this rank's, or a neighbour's that is borrowed.
  struct HomePart {
    int part = -1;    // of this rank
    int borrow = -1;  // position among the borrows of a chunk
  };
  // A chunk that this rank leads on its node.
  struct Led {
    int owner = 0;
    std::size_t first_borrow = 0;
  };
  struct Offered {
    int part = 0;
    std::int64_t begin = 0;
  };
  // Where a part of the finished tree comes from.
  struct Source {
    TreeNode node;
    int home = -1;            // position among the parts of this node, or
    std::size_t arrival = 0;  // among those that other nodes send
  };

  std::size_t scratch_floats() const {
    return std::max(merge_.scratch_floats(), finish_.scratch_floats());
  }

  // The partial sums that a node holds, in order of the tree's leaves.
  std::vector<TreeNode> parts_of_node(int node) const {
    std::vector<TreeNode> out;
    for (int rank = 0; rank < plan_.world_size(); ++rank) {
      if (plan_.nodes[rank] != node) continue;
      const auto parts = plan_.parts_of(rank);
      out.insert(out.end(), parts.begin(), parts.end());
    }
    return out;
  }

  // Each rank offers its parts of every chunk to the chunk's leader on the node. Both sides go by owner, then by part.
  void prepare_borrowing() {
    const int mine = static_cast<int>(plan_.parts_of(plan_.rank).size());
    for (int owner = 0; owner < plan_.world_size(); ++owner) {
      const int leader = plan_.leader(home_, owner);
      if (leader == plan_.rank) {
        led_.push_back({owner, borrows_.size()});
        borrow_chunk(owner);
        continue;
      }
      for (int part = 0; part < mine; ++part) {
        offered_.push_back({part, plan_.chunks[owner].begin});
        offers_.push_back({leader, nullptr, bytes_of(plan_.chunks[owner])});
      }
    }
    int borrowed = 0;
    for (int rank = 0; rank < plan_.world_size(); ++rank) {
      if (plan_.nodes[rank] != home_) continue;
      const int parts = static_cast<int>(plan_.parts_of(rank).size());
      for (int part = 0; part < parts; ++part) {
        home_parts_.push_back(rank == plan_.rank ? HomePart{part, -1} : HomePart{-1, borrowed++});
      }
    }
  }

  void borrow_chunk(int owner) {
    for (int rank = 0; rank < plan_.world_size(); ++rank) {
      if (plan_.nodes[rank] != home_ || rank == plan_.rank) continue;
      for (std::size_t part = 0; part < plan_.parts_of(rank).size(); ++part) {
        borrows_.push_back({rank, bytes_of(plan_.chunks[owner]), nullptr});
      }
    }
  }

  const float* home_part(const Launch& launch, const Led& led, int position) const {
    const HomePart& part = home_parts_[position];
    if (part.part >= 0) return launch.input<float>(part.part) + plan_.chunks[led.owner].begin;
    return static_cast<const float*>(borrows_[led.first_borrow + part.borrow].data);
  }

  // Between nodes: the merged parts of chunks that this rank leads go to their owners, those of its own chunk arrive.
  void prepare_messages() {
    for (const Led& led : led_) {
      if (led.owner == plan_.rank) {
        own_ = led;
        continue;
      }
      for (std::size_t k = 0; k < merged_parts_; ++k) {
        sends_.push_back({led.owner, nullptr, bytes_of(plan_.chunks[led.owner])});
      }
      merged_floats_ += merged_parts_ * plan_.chunks[led.owner].size();
    }
    const int nodes = *std::ranges::max_element(plan_.nodes) + 1;
    for (int node = 0; node < nodes; ++node) {
      if (node == home_) continue;
      const MergedParts merged = merge_parts(parts_of_node(node), plan_.microbatches);
      for (const TreeNode& part : merged.nodes) {
        sources_.push_back({part, -1, arriving_parts_++});
        receives_.push_back({plan_.leader(node, plan_.rank), nullptr, bytes_of(plan_.chunk())});
      }
    }
  }

  void prepare_finish(const std::vector<TreeNode>& at_home) {
    for (std::size_t i = 0; i < at_home.size(); ++i) sources_.push_back({at_home[i], static_cast<int>(i), 0});
    std::ranges::sort(sources_, {}, [this](const Source& source) {
      return source.node.leaves(plan_.microbatches).begin;
    });
    std::vector<TreeNode> all;
    for (const Source& source : sources_) all.push_back(source.node);
    finish_ = SumProgram(sums_to_root(all, plan_.microbatches), {0}, all.size());
  }

  // Returns where the parts of other nodes lie, after the merged ones.
  float* exchange_merged(const Launch& launch, float* scratch, float* memory) const {
    std::size_t sent = 0;
    for (const Led& led : led_) {
      if (led.owner == plan_.rank) continue;
      const std::int64_t count = plan_.chunks[led.owner].size();
      for (std::size_t p = 0; p < home_parts_.size(); ++p) {
        parts_[p] = home_part(launch, led, static_cast<int>(p));
      }
      for (std::size_t k = 0; k < merged_parts_; ++k, memory += count) {
        outputs_[k] = memory;
        sends_[sent++].data = memory;
      }
      merge_.run(parts_.data(), outputs_.data(), scratch, count);
    }
    for (std::size_t i = 0; i < receives_.size(); ++i) {
      receives_[i].data = memory + i * plan_.chunk().size();
    }
    if (!sends_.empty() || !receives_.empty()) communicator_.exchange(sends_, receives_, kWhat);
    return memory;
  }

  const ExchangePlan plan_;
  Communicator& communicator_;
  const int home_;  // this rank's node
  SumProgram merge_, finish_;
  std::size_t merged_parts_ = 0;  // of this node
  std::size_t merged_floats_ = 0, arriving_parts_ = 0;
  std::vector<Offered> offered_;
  std::vector<HomePart> home_parts_;  // in order of the tree's leaves
  std::vector<Led> led_;
  Led own_;
  std::vector<Source> sources_;
  // Of a run: only the pointers change.
  mutable std::vector<Send> offers_, sends_;
  mutable std::vector<Borrow> borrows_;
  mutable std::vector<Receive> receives_;
  mutable std::vector<const float*> parts_;
  mutable std::vector<float*> outputs_;
};

Kernel make_tree_reduce(const KernelRequest& request, Communicator& communicator) {
  auto reduce = std::make_shared<const TreeReduce>(request.op_as<TreeReduceOp>().plan(), communicator);
  const std::size_t workspace = reduce->workspace_bytes();
  return {"tree_reduce_cpu", [reduce](const Launch& launch) { reduce->run(launch); }, workspace};
}

// ---- tree_all_reduce ---------------------------------------------------------------------------

// Inside one node small values are borrowed, which copies them once; between nodes they are sent.
class TreeAllReduce {
 public:
  TreeAllReduce(const ExchangePlan& plan, std::int64_t elements, Communicator& communicator)
      : elements_(elements), communicator_(communicator) {
    const std::size_t bytes = static_cast<std::size_t>(elements) * sizeof(float);
    one_node_ = std::ranges::count(plan.nodes, plan.nodes[0]) == plan.world_size();
    std::vector<TreeNode> all;
    for (int rank = 0; rank < plan.world_size(); ++rank) {
      const auto theirs = plan.parts_of(rank);
      all.insert(all.end(), theirs.begin(), theirs.end());
      for (std::size_t k = 0; k < theirs.size(); ++k) {
        own_.push_back(rank == plan.rank ? static_cast<int>(k) : -1);
        if (rank != plan.rank) borrows_.push_back({rank, bytes, nullptr});
      }
      if (rank == plan.rank) continue;
      for (std::size_t k = 0; k < plan.parts_of(plan.rank).size(); ++k) sends_.push_back({rank, nullptr, bytes});
    }
    for (const Borrow& borrow : borrows_) receives_.push_back({borrow.from, nullptr, bytes});
    mine_ = plan.parts_of(plan.rank).size();
    sum_ = SumProgram(sums_to_root(all, plan.microbatches), {0}, all.size());
    parts_.resize(all.size());
  }

  std::size_t workspace_bytes() const {
    return (sum_.scratch_floats() + receives_.size() * elements_) * sizeof(float);
  }

  void run(const Launch& launch) const {
    float* scratch = static_cast<float*>(launch.workspace);
    float* arriving = scratch + sum_.scratch_floats();
    for (std::size_t i = 0; i < sends_.size(); ++i) sends_[i].data = launch.inputs[i % mine_];
    if (one_node_) {
      communicator_.borrow(sends_, borrows_, kWhat);
    } else {
      for (std::size_t i = 0; i < receives_.size(); ++i) {
        borrows_[i].data = receives_[i].data = arriving + i * elements_;
      }
      communicator_.exchange(sends_, receives_, kWhat);
    }
    std::size_t arrivals = 0;
    for (std::size_t p = 0; p < parts_.size(); ++p) {
      parts_[p] = own_[p] >= 0 ? launch.input<float>(own_[p])
                               : static_cast<const float*>(borrows_[arrivals++].data);
    }
    float* output = launch.output<float>(0);
    sum_.run(parts_.data(), &output, scratch, elements_);
    if (one_node_) communicator_.give_back(kWhat);
  }

 private:
  static constexpr const char* kWhat = "sum of the loss";

  const std::int64_t elements_;
  Communicator& communicator_;
  bool one_node_ = true;
  std::size_t mine_ = 0;  // partial sums of this rank
  std::vector<int> own_;  // by part: which of this rank's, -1 where it comes from another
  SumProgram sum_;
  // Of a run: only the pointers change.
  mutable std::vector<Send> sends_;
  mutable std::vector<Borrow> borrows_;
  mutable std::vector<Receive> receives_;
  mutable std::vector<const float*> parts_;
};

Kernel make_tree_all_reduce(const KernelRequest& request, Communicator& communicator) {
  const auto& op = request.op_as<TreeAllReduceOp>();
  auto reduce = std::make_shared<const TreeAllReduce>(op.plan(), op.elements(), communicator);
  const std::size_t workspace = reduce->workspace_bytes();
  return {"tree_all_reduce_cpu", [reduce](const Launch& launch) { reduce->run(launch); }, workspace};
}

// ---- all_gather --------------------------------------------------------------------------------

Kernel make_all_gather(const KernelRequest& request, Communicator& communicator) {
  const ExchangePlan plan = request.op_as<AllGatherOp>().plan();
  std::vector<std::size_t> offsets{0};
  for (const Range& chunk : plan.chunks) offsets.push_back(chunk.end * sizeof(float));
  const Range mine = plan.chunk();
  return {"all_gather_cpu", [&communicator, offsets, mine](const Launch& launch) {
            float* out = launch.output<float>(0);
            if (mine.size() > 0) std::memcpy(out + mine.begin, launch.inputs[0], bytes_of(mine));
            all_gather(communicator, out, offsets, "gather of the norm");
          }};
}

// ---- gather_state ------------------------------------------------------------------------------

// Between nodes a chunk is sent to its leaders. Inside a node the leader writes it where it belongs in the neighbours'
// memory: a core that writes goes on, a core that reads what another has just written waits.
class GatherState {
 public:
  GatherState(const ExchangePlan& plan, Communicator& communicator)
      : chunks_(plan.chunks), communicator_(communicator) {
    const int home = plan.nodes[plan.rank];
    for (int owner = 0; owner < plan.world_size(); ++owner) {
      if (chunks_[owner].size() == 0) continue;
      const int leader = plan.leader(home, owner);
      if (owner == plan.rank) send_to_leaders(plan, home);
      if (plan.nodes[owner] != home && leader == plan.rank) {
        receives_.push_back({owner, nullptr, bytes_of(chunks_[owner])});
        received_.push_back(owner);
      }
      if (leader == plan.rank) {
        borrow_from_neighbours(plan, owner, home);
      } else {
        offers_.push_back({leader, nullptr, bytes_of(chunks_[owner])});
        offered_.push_back(owner);
      }
    }
  }

  void run(float* state) const {
    for (std::size_t i = 0; i < sends_.size(); ++i) sends_[i].data = state + chunks_[sent_[i]].begin;
    for (std::size_t i = 0; i < receives_.size(); ++i) {
      receives_[i].data = state + chunks_[received_[i]].begin;
    }
    if (!sends_.empty() || !receives_.empty()) communicator_.exchange(sends_, receives_, kWhat);
    for (std::size_t i = 0; i < offers_.size(); ++i) offers_[i].data = state + chunks_[offered_[i]].begin;
    communicator_.borrow(offers_, borrows_, kWhat, Lending::kWrite);
    for (std::size_t i = 0; i < borrows_.size(); ++i) {
      const Range chunk = chunks_[borrowed_[i]];
      copy_floats(static_cast<float*>(borrows_[i].data), state + chunk.begin, chunk.size());
    }
    communicator_.give_back(kWhat);
  }

 private:
  static constexpr const char* kWhat = "gather of parameters";

  void send_to_leaders(const ExchangePlan& plan, int home) {
    const int nodes = *std::ranges::max_element(plan.nodes) + 1;
    for (int node = 0; node < nodes; ++node) {
      if (node == home) continue;
      sends_.push_back({plan.leader(node, plan.rank), nullptr, bytes_of(plan.chunk())});
      sent_.push_back(plan.rank);
    }
  }

  void borrow_from_neighbours(const ExchangePlan& plan, int owner, int home) {
    for (int rank = 0; rank < plan.world_size(); ++rank) {
      if (plan.nodes[rank] != home || rank == plan.rank) continue;
      borrows_.push_back({rank, bytes_of(chunks_[owner]), nullptr});
      borrowed_.push_back(owner);
    }
  }

  const std::vector<Range> chunks_;
  Communicator& communicator_;
  std::vector<int> sent_, received_, offered_, borrowed_;  // owners of the chunks
  // Of a run: only the pointers change.
  mutable std::vector<Send> sends_, offers_;
  mutable std::vector<Receive> receives_;
  mutable std::vector<Borrow> borrows_;
};

std::vector<std::size_t> offsets_of(const ExchangePlan& plan) {
  std::vector<std::size_t> offsets{0};
  for (const Range& chunk : plan.chunks) offsets.push_back(static_cast<std::size_t>(chunk.end));
  return offsets;
}

Kernel make_gather_state(const KernelRequest& request, Communicator& communicator) {
  const auto& op = request.op_as<GatherStateOp>();
  if (op.fast()) {
    return {"gather_state_fast_cpu", [&communicator, offsets = offsets_of(op.plan())](const Launch& launch) {
              communicator.fast_all_gather(launch.overwritten<float>(0), offsets, "gather of parameters");
            }};
  }
  auto gather = std::make_shared<const GatherState>(op.plan(), communicator);
  return {"gather_state_cpu", [gather](const Launch& launch) { gather->run(launch.overwritten<float>(0)); }};
}

// ---- fast_reduce -------------------------------------------------------------------------------

Kernel make_fast_reduce(const KernelRequest& request, Communicator& communicator) {
  const ExchangePlan& plan = request.op_as<FastReduceOp>().plan();
  return {"fast_reduce_cpu", [&communicator, offsets = offsets_of(plan)](const Launch& launch) {
            communicator.fast_reduce_scatter(launch.input<float>(0), launch.output<float>(0), offsets,
                                             "reduction of gradients");
          }};
}

}  // namespace

void register_exchange_cpu(KernelRegistry& registry, Communicator& communicator) {
  auto with = [&communicator](auto make) {
    return [make, &communicator](const KernelRequest& request) {
      return make(request, communicator);
    };
  };
  registry.add("tree_reduce", DeviceKind::kCpu, {with(make_tree_reduce), nullptr});
  registry.add("tree_all_reduce", DeviceKind::kCpu, {with(make_tree_all_reduce), nullptr});
  registry.add("fast_reduce", DeviceKind::kCpu, {with(make_fast_reduce), nullptr});
  registry.add("all_gather", DeviceKind::kCpu, {with(make_all_gather), nullptr});
  registry.add("gather_state", DeviceKind::kCpu, {with(make_gather_state), nullptr});
}

}  // namespace lockstep
