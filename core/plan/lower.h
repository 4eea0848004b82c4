// Lowering: a graph becomes a Plan. This alone chooses kernels, streams and places.
//
// - Views cost nothing: they are places inside other buffers.
// - The inputs of a pack are computed in place where their producers can write there.
// - An op that may overwrite an input does so where nobody needs the input afterwards.
// - What communicates goes to the communication stream where there is work to hide it behind. Its memory is kept until
//   the compute stream has waited for it.
// - Everything else, and each kernel's workspace, is placed in one arena by the memory planner; what other workers read
//   lies in a part of its own.
#pragma once

#include <map>

#include "core/graph/graph.h"
#include "core/plan/plan.h"

namespace lockstep {

// Prepared kernels, shared by all steps (and Plans) that do the same. Belongs to one device.
class KernelCache {
 public:
  KernelCache(const KernelRegistry& registry, Device& device)
      : registry_(registry), device_(device) {}

  // Throws bad_input where no kernel fits.
  std::shared_ptr<const Kernel> get(const Op& op, const std::vector<TensorType>& inputs,
                                    const std::vector<TensorType>& outputs);
  // Those that are asked for from now on are made anew.
  void forget() { made_.clear(); }

 private:
  struct Made {
    std::vector<TensorType> inputs, outputs;
    std::shared_ptr<const Kernel> kernel;
  };
  const KernelRegistry& registry_;
  Device& device_;
  std::map<std::string, std::vector<Made>> made_;
};

struct LowerOptions {
  bool streams = true;  // false: everything runs on the compute stream
  // What the device does in a second, roughly: for the choice of streams.
  double flops = 5e10, bytes = 1e10;
  // The least seconds of computation beside an exchange that make the communication stream worth its while, and the
  // least bytes for an exchange that nothing in the same run waits for.
  double worth_another_thread = 50e-6;
  std::size_t worth_hiding = 128 << 10;
};

// REQUIRES: `graph` is verified. Errors name the node.
Plan lower(const Graph& graph, KernelCache& kernels, const LowerOptions& options = {});

}  // namespace lockstep
