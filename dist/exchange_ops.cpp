#include "dist/exchange_ops.h"

#include <algorithm>
#include <cstring>

#include "core/base/error.h"

namespace lockstep {

std::string ExchangePlan::to_string() const {
  std::string out = text("microbatches=", microbatches, " rank=", rank, "/", world_size, " chunks=");
  for (const Range& chunk : chunks) out += text("[", chunk.begin, ",", chunk.end, ")");
  return out;
}

std::string TreeReduceOp::attributes() const {
  return text(plan_.to_string(), " elements=", elements_);
}

std::vector<TensorType> TreeReduceOp::infer(std::span<const TensorType> inputs) const {
  const std::size_t parts = plan_.parts_of(plan_.rank).size();
  check_input(inputs.size() == parts, "takes ", parts, " partial sums, got ", inputs.size());
  for (const TensorType& type : inputs) {
    check_input(type.dtype == DType::kF32 && type.elements() == elements_, "partial sum is ",
                type.to_string(), ", expected f32 with ", elements_, " elements");
  }
  return {{DType::kF32, {plan_.chunks[plan_.rank].size()}, nullptr}};
}

std::string AllGatherOp::attributes() const {
  return text(plan_.to_string(), " elements=", elements_);
}

std::vector<TensorType> AllGatherOp::infer(std::span<const TensorType> inputs) const {
  check_input(inputs.size() == 1 && inputs[0].elements() == plan_.chunks[plan_.rank].size(),
              "takes this rank's chunk");
  return {{DType::kF32, {elements_}, nullptr}};
}

std::vector<TensorType> GatherStateOp::infer(std::span<const TensorType> inputs) const {
  check_input(inputs.size() == 2 && inputs[1].elements() == plan_.chunks[plan_.rank].size(),
              "takes the state and this rank's chunk of it");
  return {inputs[0]};
}

namespace {

// ---- tree_reduce -------------------------------------------------------------------------------

// Partial sums of other ranks arrive in the workspace; parts lie in the order of the tree's leaves.
struct TreeReduce {
  Communicator* communicator;
  ExchangePlan plan;
  std::vector<int> parts_by_rank;    // how many subtrees each rank holds
  std::vector<TreeSum> sums;
  // Prepared memory of a run; only the pointers change.
  mutable std::vector<Send> sends;
  mutable std::vector<Receive> receives;
  mutable std::vector<const float*> parts;

  void run(const Launch& launch) const {
    const Range mine = plan.chunks[plan.rank];
    const std::size_t bytes = static_cast<std::size_t>(mine.size()) * sizeof(float);
    sends.clear();
    receives.clear();
    parts.clear();
    auto* arrived = static_cast<float*>(launch.workspace);
    for (int peer = 0; peer < plan.world_size; ++peer) {
      for (int k = 0; k < parts_by_rank[peer]; ++k) {
        if (peer == plan.rank) {
          parts.push_back(launch.input<float>(k) + mine.begin);
          continue;
        }
        receives.push_back({peer, arrived, bytes});
        parts.push_back(arrived);
        arrived += mine.size();
      }
      if (peer == plan.rank) continue;
      const Range theirs = plan.chunks[peer];
      for (int k = 0; k < parts_by_rank[plan.rank]; ++k) {
        sends.push_back({peer, launch.input<float>(k) + theirs.begin,
                         static_cast<std::size_t>(theirs.size()) * sizeof(float)});
      }
    }
    communicator->exchange(sends, receives, "tree_reduce of gradients");
    finish_tree(launch.output<float>(0), arrived, mine.size());
  }

  // Sums block by block, so that the blocks stay in the first-level cache. `scratch` holds one block for each part.
  void finish_tree(float* out, float* scratch, std::int64_t count) const {
    for (std::int64_t begin = 0; begin < count; begin += kBlock) {
      const std::int64_t n = std::min(kBlock, count - begin);
      for (std::size_t p = 0; p < parts.size(); ++p) {
        std::memcpy(scratch + p * kBlock, parts[p] + begin, n * sizeof(float));
      }
      for (const TreeSum& sum : sums) {
        float* left = scratch + sum.left * kBlock;
        const float* right = scratch + sum.right * kBlock;
        for (std::int64_t i = 0; i < n; ++i) left[i] += right[i];
      }
      std::memcpy(out + begin, scratch, n * sizeof(float));
    }
  }

  static constexpr std::int64_t kBlock = 1024;
};

Kernel make_tree_reduce(const KernelRequest& request, Communicator& communicator) {
  const ExchangePlan& plan = request.op_as<TreeReduceOp>().plan();
  TreeReduce reduce{&communicator, plan, {}, {}, {}, {}, {}};
  std::vector<TreeNode> all;
  for (int rank = 0; rank < plan.world_size; ++rank) {
    const auto parts = plan.parts_of(rank);
    reduce.parts_by_rank.push_back(static_cast<int>(parts.size()));
    all.insert(all.end(), parts.begin(), parts.end());
  }
  reduce.sums = sums_to_root(all, plan.microbatches);
  const std::size_t foreign = all.size() - reduce.parts_by_rank[plan.rank];
  reduce.receives.reserve(foreign);
  reduce.sends.reserve(static_cast<std::size_t>(reduce.parts_by_rank[plan.rank]) * plan.world_size);
  reduce.parts.reserve(all.size());
  const std::size_t elements =
      foreign * plan.chunks[plan.rank].size() + all.size() * TreeReduce::kBlock;
  auto shared = std::make_shared<const TreeReduce>(std::move(reduce));
  return {"tree_reduce_cpu", [shared](const Launch& launch) { shared->run(launch); },
          elements * sizeof(float)};
}

// ---- all_gather and gather_state ---------------------------------------------------------------

std::vector<std::size_t> byte_offsets(const ExchangePlan& plan) {
  std::vector<std::size_t> offsets{0};
  for (const Range& chunk : plan.chunks) offsets.push_back(chunk.end * sizeof(float));
  return offsets;
}

Kernel make_all_gather(const KernelRequest& request, Communicator& communicator) {
  const ExchangePlan plan = request.op_as<AllGatherOp>().plan();
  const auto offsets = byte_offsets(plan);
  const Range mine = plan.chunks[plan.rank];
  return {"all_gather_cpu", [&communicator, offsets, mine](const Launch& launch) {
            float* out = launch.output<float>(0);
            if (mine.size() > 0) {
              std::memcpy(out + mine.begin, launch.inputs[0], mine.size() * sizeof(float));
            }
            all_gather(communicator, out, offsets, "all_gather");
          }};
}

Kernel make_gather_state(const KernelRequest& request, Communicator& communicator) {
  const auto offsets = byte_offsets(request.op_as<GatherStateOp>().plan());
  return {"gather_state_cpu", [&communicator, offsets](const Launch& launch) {
            all_gather(communicator, launch.overwritten<float>(0), offsets,
                       "gather of parameters");
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
  registry.add("all_gather", DeviceKind::kCpu, {with(make_all_gather), nullptr});
  registry.add("gather_state", DeviceKind::kCpu, {with(make_gather_state), nullptr});
}

}  // namespace lockstep
