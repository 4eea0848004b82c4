// The way from a model to Plans: the pipeline of passes, in one place.
//
//   microbatch:  mixed_precision, autodiff, fuse, eliminate_dead      for each size of microbatch
//   step:        distribute, cast_states, layout, eliminate_dead      for each size of batch
//   inference:   mixed_precision, fuse, cast_states, layout, eliminate_dead
//
// A Compiler belongs to one worker: its device, its rank. Not thread-safe.
#pragma once

#include <functional>
#include <memory>
#include <optional>

#include "core/passes/pipeline.h"
#include "core/plan/lower.h"
#include "dist/buckets.h"
#include "dist/communicator.h"
#include "ops/layers/layer.h"
#include "ops/losses/loss.h"
#include "ops/optimizers/optimizer.h"

namespace lockstep {

// A model's forward graph for one batch size.
struct ForwardGraph {
  Graph graph;
  ValueId output = kNoValue;
  std::vector<ParameterSpec> parameters;
  std::vector<StatisticSpec> statistics;
};

struct CompileOptions {
  // Builds the model; training graphs may have inputs "step" i64() and "sample" i64(batch).
  std::function<ForwardGraph(std::int64_t batch, bool training)> forward;
  std::shared_ptr<const Loss> loss;
  std::shared_ptr<const Optimizer> optimizer;
  // One sample of the target (input "target"), and whether there are weights (input "weights" f32(batch)).
  TensorType target_sample;
  // The same of training, where it is another: shares of classes, for mixup.
  std::optional<TensorType> training_target_sample = {};
  bool weights = false;
  bool bf16 = false;
  double clip_norm = 0;
  bool fast_reduction = false;  // the library's collectives instead of the fixed tree
  bool runs_ahead = false;      // steps are launched before the host has seen the one before (distribute.h)
  std::int64_t microbatches = 1;
  std::size_t bucket_bytes = kDefaultBucketBytes;
  LowerOptions lowering;
  PipelineOptions pipeline;
};

class Compiler {
 public:
  // `registry`, `device` and `communicator` outlive the compiler. Builds the model once; errors are bad_input.
  Compiler(const KernelRegistry& registry, Device& device, Communicator& communicator,
           CompileOptions options);

  // The training step of this rank for a global batch of `samples`. Inputs and outputs: see distribute.h, with
  // the model's inputs, "target" and "weights".
  Plan training_plan(std::int64_t samples);
  // Forward for `batch` samples. Outputs: "output" f32(batch, ...); with `with_loss` the inputs "target" (and
  // "weights") and the output "loss" f32(), the sum over the samples of weight times loss.
  Plan inference_plan(std::int64_t batch, bool with_loss);
  // A debugging aid: the training forward and backward of one microbatch with every floating-point value as an output,
  // named by its node, in the order of computation.
  Plan inspection_plan(std::int64_t samples, std::int64_t global_samples);
  // Plans that are compiled from now on have kernels that are made anew.
  void forget_kernels() { kernels_.forget(); }

  const std::vector<Bucket>& buckets() const { return buckets_; }
  const std::vector<ParameterSpec>& parameters() const { return parameters_; }
  const std::vector<StatisticSpec>& statistics() const { return statistics_; }
  // Shape of the model's output for one sample.
  const Shape& output_sample() const { return output_sample_; }
  const CompileOptions& options() const { return options_; }
  // Seconds by pass, all compilations so far.
  const std::vector<PassTime>& pass_times() const { return times_; }

 private:
  void check_parameters() const;
  Graph differentiated(std::int64_t samples, std::int64_t global_samples);
  Graph microbatch_graph(std::int64_t samples, std::int64_t global_samples);
  ValueId add_loss(Graph& graph, ValueId prediction, const TensorType& target_sample, std::int64_t batch,
                   double scale) const;
  Plan finish(const Graph& graph);
  Pass mixed_precision_pass() const;
  Pass fuse_pass() const;
  Pass cast_states_pass() const;
  Pass layout_pass() const;
  std::vector<Pass> all_passes() const;

  const KernelRegistry& registry_;
  Device& device_;
  Communicator& communicator_;
  CompileOptions options_;
  KernelCache kernels_;
  std::vector<ParameterSpec> parameters_;
  std::vector<StatisticSpec> statistics_;
  std::vector<Bucket> buckets_;
  Shape output_sample_;
  std::vector<PassTime> times_;
};

}  // namespace lockstep
