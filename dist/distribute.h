// From the gradients of one microbatch to the whole step of one worker: its microbatches one after another, the
// fixed tree that sums them, the exchange with the other workers, the update and the gather of the new parameters.
//
// Before: one graph for each size of microbatch, after autodiff and fusion. It reads parameters and statistics as
// states by name, the batch as inputs (batch, ...), scalars as inputs (), and has the outputs
//   "loss" f32()               the microbatch's part of the loss
//   "gradient/<parameter>"     in the parameter's shape; left out where nothing depends on it
//   "statistic/<name>"         the statistic of this microbatch
// Frozen parameters and statistics have neither.
// An op with the trait sums_microbatches stands for the sum of its input over all microbatches.
// After: one graph that reads the worker's samples as inputs (samples, ...) of the same names, the scalars, and
// "learning_rate" f32() and "step" i64(); its states are the buckets, the moments of this rank's chunks and, with
// runs_ahead, "halted" f32(); its outputs are "loss" f32() and "gradient_norm" f32() of the whole batch, equal on all
// ranks. What depends on parameters only (a cast) is computed once for all microbatches.
#pragma once

#include <map>

#include "core/graph/graph.h"
#include "dist/buckets.h"
#include "ops/optimizers/optimizer.h"

namespace lockstep {

struct DistributeOptions {
  std::int64_t samples = 0;       // of the global batch
  std::int64_t microbatches = 1;  // M
  int rank = 0, world_size = 1;
  std::vector<int> nodes = {0};  // of each rank (Communicator::nodes)
  bool fast = false;             // the library's collectives instead of the fixed tree
  double clip_norm = 0;
  // The device does further steps before the host has seen whether this one was finite (sticky_gradient_scale).
  bool runs_ahead = false;
};

// `microbatch_graphs`: by number of samples. A rank without microbatches still takes part in the exchange.
Graph distribute(const std::map<std::int64_t, Graph>& microbatch_graphs,
                 const std::vector<Bucket>& buckets, const Optimizer& optimizer,
                 const DistributeOptions& options);

// Replaces the states of a graph that are slots of a bucket by views of the bucket's state. For inference graphs.
Graph read_from_buckets(const Graph& graph, const std::vector<Bucket>& buckets);

}  // namespace lockstep
