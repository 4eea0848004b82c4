// The training of one model on one worker: Plans, parameters, steps and evaluation. It writes no files and prints
// nothing; the trainer does that around it.
//
// All ranks of a world make the same calls in the same order.
#pragma once

#include <array>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/plan/executor.h"
#include "datasets/batch_queue.h"
#include "datasets/loader.h"
#include "datasets/microbatches.h"
#include "dist/compile.h"
#include "launcher/checkpoint/tensor_slice.h"
#include "launcher/config.h"
#include "launcher/metrics.h"
#include "launcher/run_data.h"
#include "launcher/worker.h"

namespace lockstep {

struct StepResult {
  float loss = 0;           // of the whole batch
  float gradient_norm = 0;  // before clipping
  double learning_rate = 0;
  std::int64_t samples = 0;  // in the global batch
  double data_seconds = 0;      // waiting for the inputs, or filling them
  RunSeconds run_seconds;       // the rest, by phase
};

// A tensor of the training state, canonical f32, on the host. What is written into the values is the state where the device
// computes in the host's memory; elsewhere it is after Training::write_back().
struct NamedTensor {
  std::string name;
  Shape shape;
  std::span<float> values;
};

struct EvaluateOptions {
  std::vector<std::string> names = {};  // which metrics; those of the configuration where it is empty
  // Called on the rank that computed them with the outputs of each batch: (first position in the subset, samples,
  // outputs).
  std::function<void(std::int64_t first, std::int64_t samples, const float* outputs)> outputs_of = {};
  // Asked after each batch, as often on every rank; where it says no (on all ranks alike), the evaluation is given up.
  std::function<bool()> keep_going = {};
};

// Bytes of a Plan's arena, states and inputs.
std::size_t memory_of(const Plan& plan);
// Throws bad_input where `workers` workers that need `bytes` each need more than the machine has.
void check_memory(const Device& device, std::size_t bytes, int workers);

class Training {
 public:
  // `worker` and `data` outlive the training. Errors are bad_input: nothing has been written yet.
  Training(Worker& worker, const Config& config, const RunData& data, const PipelineOptions& pipeline);

  // Parameters and statistics as their initialisers say; moments zero; step 0.
  void initialize();

  // REQUIRES for this and for steps: there is training data.
  std::int64_t steps_per_epoch() const { return loader_->batches(); }
  std::int64_t total_steps() const { return total_steps_; }
  std::int64_t step() const { return step_; }
  void set_step(std::int64_t step) { step_ = step; }
  std::int64_t microbatches() const { return microbatches_; }

  // One optimizer step on batch `step() % steps_per_epoch()` of its epoch. Afterwards step() is one more, unless loss
  // or gradient are not finite: then the gradient changed nothing and step() stays.
  StepResult run_step();

  // The same in two halves: on a device that queues work the next step can be launched before the result of the one before
  // is known. Results come in order. Where one is not finite, what was launched after it has changed nothing and is forgotten.
  // REQUIRES: steps_under_way() <= steps_ahead().
  void begin_step();
  // REQUIRES: steps_under_way() > 0.
  StepResult finish_step();
  int steps_under_way() const { return steps_under_way_; }
  // How many steps it pays to launch before the result of the one before is known.
  int steps_ahead() const { return worker_.device().queues_work() ? QueuedPlan::kRunsAhead : 0; }
  // The number from 1 of the step that begin_step() launches.
  std::int64_t next_step() const { return step_ + steps_under_way() + 1; }
  // REQUIRES for everything below: no step is under way.

  // Where the first value that is not finite arises in the batch that run_step() just refused: "layer conv1
  // (output)", and on which rank. All ranks call it; the answer is the same on all.
  std::string find_not_finite();

  // Throws a SharedError naming the ranks and the tensors that differ where the workers do not all have the same
  // parameters and statistics. All ranks call it.
  void check_replicas();
  // This rank's batch of the next step has a NaN: to try out what happens then. REQUIRES: the first input can be NaN.
  void spoil_next_batch() { spoilt_step_ = next_step(); }
  bool first_input_can_be_nan() const { return data_.inputs.front().dtype == DType::kF32; }

  // Evaluates every sample of the subset exactly once, on all ranks together. Empty where it was given up.
  std::vector<MetricValue> evaluate(const Subset& subset, const EvaluateOptions& options = {});

  // The outputs f32(samples, output_sample()) of inputs without targets, computed by this rank alone.
  std::vector<float> predict(const Loader& loader);

  // Parameters and running statistics, sorted by name; equal on all ranks.
  std::vector<NamedTensor> parameters();
  std::vector<NamedTensor> statistics();
  // This rank's part of the optimizer's moments, "<moment>/<parameter>", on the host as the tensors above; the parts of all
  // ranks are all of them.
  std::vector<TensorSlice> moments();
  // Everything that these have given out is the state from now on.
  void write_back() { states_.write_back(); }
  // This rank's part of the whole state, in the device's memory: of "parameters/<name>" and the moments what it owns, on rank 0
  // "statistics/<name>". The parts of all ranks are all of it, and no element twice.
  std::vector<TensorSlice> own_state();
  // The bytes of own_state(): what a checkpoint copies in memory.
  std::size_t own_state_bytes() const;
  // Names and shapes of the whole state.
  std::map<std::string, Shape> state_shapes() const;
  std::int64_t parameter_count() const;
  // SHA-256 of the parameters: canonical f32 bytes in order of name.
  std::string parameters_sha256();

  // false: a device that queues work launches kernel by kernel instead of recordings. The bits are the same.
  void use_recordings(bool use);
  // Who records what runs when; null: nobody. It outlives the training.
  void trace_to(Trace* trace);
  Trace* trace() const { return trace_; }

  Compiler& compiler() { return *compiler_; }
  StateStore& states() { return states_; }
  Worker& worker() { return worker_; }
  const Config& config() const { return config_; }
  const RunData& data() const { return data_; }
  std::int64_t classes() const { return classes_; }  // scores for each sample; 0 where the loss knows none
  const Schedule& schedule() const { return schedule_; }
  // Makes the Plan of a full batch now (it is made when first needed otherwise) and returns it. Throws bad_input where it
  // does not fit into memory, before any is taken.
  const Plan& training_plan();
  // Makes the kernels of all Plans of training and evaluation anew. REQUIRES: no Plan was made yet.
  void make_kernels();

 private:
  struct BoundPlan;
  struct Evaluated;

  BoundPlan& bound_training(std::int64_t samples);
  BoundPlan& bound_inference(std::int64_t samples, bool with_loss);
  std::int64_t suitable_bucket_bytes() const;
  CompileOptions compile_options(const PipelineOptions& pipeline) const;
  void bind_inputs(BoundPlan& bound);
  // The samples [range.begin, range.end) of the batch become the inputs.
  void set_inputs(BoundPlan& bound, const FilledBatch& batch, Range range) const;
  const FilledBatch& batch_of(std::int64_t step);
  void forget_what_follows();
  std::vector<TensorSlice> moments_in(const std::function<float*(const std::string&)>& memory_of);
  Evaluated& evaluated(const Subset& subset);
  std::vector<NamedTensor> tensors(bool statistics);
  Range range_of_rank(std::int64_t samples) const;
  std::int64_t metric_outputs() const;

  Worker& worker_;
  const Config& config_;
  const RunData& data_;
  Model model_;
  std::int64_t microbatches_ = 1;
  std::int64_t classes_ = 0;
  std::unique_ptr<Compiler> compiler_;
  StateStore states_;
  Arena arena_;
  std::unique_ptr<Loader> loader_;      // null without training data
  std::unique_ptr<BatchQueue> queue_;   // of the loader's batches
  std::int64_t queued_step_ = -1;       // whose batch comes next; -1: not begun
  const FilledBatch* batch_ = nullptr;  // of the last step
  std::unique_ptr<Evaluated> evaluated_;  // the subset that was evaluated last
  Schedule schedule_;
  std::int64_t total_steps_ = 0;
  std::int64_t step_ = 0;
  // A step that was launched, and what is known of it.
  struct UnderWay {
    BoundPlan* bound = nullptr;
    std::int64_t run = 0;  // of the executor
    StepResult result;
  };
  std::array<UnderWay, QueuedPlan::kRunsAhead + 1> under_way_;  // a ring
  int steps_under_way_ = 0;
  std::int64_t steps_begun_ = 0;  // so far, for the ring
  BoundPlan* reading_ = nullptr;  // may still read the batch that was given to it last
  std::int64_t spoilt_step_ = 0;
  bool uses_recordings_ = true;
  Trace* trace_ = nullptr;
  std::int32_t data_name_ = 0;  // in the trace
  std::map<std::int64_t, std::unique_ptr<BoundPlan>> training_plans_;
  std::map<std::pair<std::int64_t, bool>, std::unique_ptr<BoundPlan>> inference_plans_;

 public:
  ~Training();
};

}  // namespace lockstep
