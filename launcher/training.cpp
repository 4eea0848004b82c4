#include "launcher/training.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "core/base/error.h"
#include "core/base/hash.h"
#include "core/base/random.h"
#include "dist/agree.h"

namespace lockstep {
namespace {

constexpr char kHaltedState[] = "halted";

std::uint32_t stream_of(const std::string& name) {
  std::uint32_t hash = 2166136261u;  // FNV-1a
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 16777619u;
  return hash & 0xffffffu;
}

ForwardGraph forward_graph(const Model& model, std::int64_t batch, bool training,
                           std::uint64_t seed) {
  ModelGraph built = model.build(batch, training, seed);
  return {std::move(built.graph), built.output, std::move(built.parameters),
          std::move(built.statistics)};
}

}  // namespace

// A Plan with the numbers of its inputs; -1: it has none of the kind.
struct Training::BoundPlan {
  explicit BoundPlan(Executor made) : executor(std::move(made)) {}

  Executor executor;
  std::vector<int> inputs;
  int target = -1, weights = -1, sample = -1, learning_rate = -1, step = -1;
};

// A subset with who fills its batches.
struct Training::Evaluated {
  explicit Evaluated(Subset which) : subset(std::move(which)) {}

  Subset subset;
  std::unique_ptr<Loader> loader;
  std::unique_ptr<BatchQueue> queue;
};

Training::~Training() = default;

namespace {

Range whole_batch(std::int64_t samples) { return {0, samples}; }

}  // namespace

// A launch on a GPU costs more than the caches of a CPU save: few large buckets there, and one where nothing is exchanged.
std::int64_t Training::suitable_bucket_bytes() const {
  if (!worker_.device().queues_work()) return kDefaultBucketBytes;
  return worker_.world_size() > 1 ? std::int64_t{32} << 20 : std::int64_t{1} << 40;
}

CompileOptions Training::compile_options(const PipelineOptions& pipeline) const {
  CompileOptions options;
  options.forward = [this, seed = config_.run.seed](std::int64_t batch, bool training) {
    return forward_graph(model_, batch, training, seed);
  };
  options.loss = config_.train.loss;
  options.optimizer = config_.train.optimizer;
  options.target_sample = data_.target;
  if (mixes_classes(config_)) {
    const ModelGraph one = model_.build(1, false, 0);
    const Shape& output = one.graph.type(one.output).shape;
    options.training_target_sample = TensorType{DType::kF32, output.slice(1, output.rank()), nullptr};
  }
  options.weights = !config_.data.weights.empty();
  options.bf16 = config_.train.precision == TrainPrecision::kBF16;
  options.runs_ahead = worker_.device().queues_work();
  options.clip_norm = config_.train.clip_norm;
  options.bucket_bytes = static_cast<std::size_t>(config_.train.bucket_bytes > 0 ? config_.train.bucket_bytes : suitable_bucket_bytes());
  options.fast_reduction = config_.train.reduction == ReductionKind::kFast;
  options.microbatches = microbatches_;
  options.lowering.streams = worker_.hides_exchange();
  if (worker_.device().queues_work()) {  // a GPU, and what an event between two of its streams costs
    options.lowering.flops = 1e13;
    options.lowering.bytes = 1e12;
    options.lowering.worth_another_thread = 5e-6;
  }
  options.pipeline = pipeline;
  return options;
}

Training::Training(Worker& worker, const Config& config, const RunData& data,
                   const PipelineOptions& pipeline)
    : worker_(worker),
      config_(config),
      data_(data),
      model_(config.model.with_inputs(data.model_inputs)),
      microbatches_(config.microbatches(worker.world_size())),
      compiler_(std::make_unique<Compiler>(worker.kernels(), worker.device(), worker.communicator(),
                                           compile_options(pipeline))),
      states_(worker.device(), worker.communication()),
      arena_(worker.device()),
      schedule_(config.train.learning_rate) {
  if (config.train.loss->kind() == "softmax_cross_entropy") {
    const Shape& output = compiler_->output_sample();
    check_input(output.rank() >= 1, "the model's output for a sample is ", output,
                ", softmax_cross_entropy expects one value for each class");
    classes_ = output[-1];
    check_input(config.data.classes <= classes_, "data.classes: found ", config.data.classes,
                ", the model computes scores of ", classes_, " classes");
  }
  // What an evaluation needs is refused now, not after the first epoch.
  make_metrics(config.evaluate.metrics, task_of_loss(config.train.loss->kind()), metric_outputs());
  if (data.train.dataset == nullptr) return;
  if (data.has_test()) evaluated(data.test);
  loader_ = make_loader(config, data, data.train, LoaderUse::kTraining, microbatches_, classes_);
  BatchQueueOptions queue = queue_options(config, data, *loader_);
  queue.range_of = [this](std::int64_t samples) { return range_of_rank(samples); };
  queue.microbatches = Microbatches(config.train.global_batch, microbatches_).of_rank(worker.rank(), worker.world_size());
  queue_ = std::make_unique<BatchQueue>(*loader_, worker.device(), std::move(queue));
  if (__builtin_mul_overflow(config.train.epochs, loader_->batches(), &total_steps_)) total_steps_ = INT64_MAX;
  if (config.train.steps > 0) total_steps_ = std::min(total_steps_, config.train.steps);
  schedule_.finish(static_cast<double>(loader_->batches()), std::max<std::int64_t>(1, total_steps_));
}

// Classes of a classification, else the elements that the model computes for a sample.
std::int64_t Training::metric_outputs() const {
  const Shape& output = compiler_->output_sample();
  return task_of_loss(config_.train.loss->kind()) == Task::kClasses ? output[-1] : output.elements();
}

// ---- Parameters --------------------------------------------------------------------------------

std::vector<NamedTensor> Training::tensors(bool statistics) {
  std::vector<NamedTensor> out;
  for (const Bucket& bucket : compiler_->buckets()) {
    if (bucket.is_statistics != statistics) continue;
    states_.obtain(bucket.state, {DType::kF32, {bucket.elements}, nullptr});
    auto* values = static_cast<float*>(states_.on_host(bucket.state));
    for (const BucketSlot& slot : bucket.slots) {
      out.push_back({slot.name, slot.shape,
                     {values + slot.offset, static_cast<std::size_t>(slot.shape.elements())}});
    }
  }
  std::ranges::sort(out, {}, &NamedTensor::name);
  return out;
}

std::vector<NamedTensor> Training::parameters() { return tensors(false); }
std::vector<NamedTensor> Training::statistics() { return tensors(true); }

namespace {

// The part of a chunk that each parameter of its bucket has. `values`: of the chunk.
void append_slices(std::vector<TensorSlice>& out, const std::string& kind, const Bucket& bucket, Range chunk,
                   float* values) {
  for (const BucketSlot& slot : bucket.slots) {
    const std::int64_t begin = std::max(chunk.begin, slot.offset);
    const std::int64_t end = std::min(chunk.end, slot.offset + slot.shape.elements());
    if (begin >= end) continue;
    out.push_back({kind + "/" + slot.name, slot.shape, {begin - slot.offset, end - slot.offset},
                   values + (begin - chunk.begin)});
  }
}

}  // namespace

std::vector<TensorSlice> Training::moments() {
  return moments_in([this](const std::string& state) { return static_cast<float*>(states_.on_host(state)); });
}

// The states are made where they do not exist.
std::vector<TensorSlice> Training::moments_in(const std::function<float*(const std::string&)>& memory_of) {
  std::vector<TensorSlice> out;
  for (const Bucket& bucket : compiler_->buckets()) {
    const Range chunk = bucket.chunk(worker_.rank(), worker_.world_size());
    if (bucket.is_statistics || bucket.is_frozen || chunk.size() == 0) continue;
    for (const std::string& moment : config_.train.optimizer->slots()) {
      states_.obtain(bucket.moment(moment), {DType::kF32, {chunk.size()}, nullptr});
      append_slices(out, moment, bucket, chunk, memory_of(bucket.moment(moment)));
    }
  }
  return out;
}

std::vector<TensorSlice> Training::own_state() {
  std::vector<TensorSlice> out;
  for (const Bucket& bucket : compiler_->buckets()) {
    auto* values = static_cast<float*>(
        states_.obtain(bucket.state, {DType::kF32, {bucket.elements}, nullptr}));
    if (!bucket.is_statistics) {
      const Range chunk = bucket.chunk(worker_.rank(), worker_.world_size());
      append_slices(out, "parameters", bucket, chunk, values + chunk.begin);
    } else if (worker_.rank() == 0) {
      append_slices(out, "statistics", bucket, {0, bucket.elements}, values);
    }
  }
  const std::vector<TensorSlice> of_optimizer =
      moments_in([this](const std::string& state) { return static_cast<float*>(states_.data(state)); });
  out.insert(out.end(), of_optimizer.begin(), of_optimizer.end());
  return out;
}

std::size_t Training::own_state_bytes() const {
  std::int64_t elements = 0;
  for (const Bucket& bucket : compiler_->buckets()) {
    const std::int64_t chunk = bucket.chunk(worker_.rank(), worker_.world_size()).size();
    const std::size_t moments = bucket.is_frozen ? 0 : config_.train.optimizer->slots().size();
    elements += bucket.is_statistics ? bucket.elements : chunk * static_cast<std::int64_t>(1 + moments);
  }
  return static_cast<std::size_t>(elements) * sizeof(float);
}

std::map<std::string, Shape> Training::state_shapes() const {
  std::map<std::string, Shape> out;
  for (const Bucket& bucket : compiler_->buckets()) {
    for (const BucketSlot& slot : bucket.slots) {
      out[(bucket.is_statistics ? "statistics/" : "parameters/") + slot.name] = slot.shape;
      if (bucket.is_statistics || bucket.is_frozen) continue;
      for (const std::string& moment : config_.train.optimizer->slots()) out[moment + "/" + slot.name] = slot.shape;
    }
  }
  return out;
}

std::int64_t Training::parameter_count() const {
  std::int64_t count = 0;
  for (const ParameterSpec& parameter : compiler_->parameters()) count += parameter.shape.elements();
  return count;
}

void Training::initialize() {
  std::map<std::string, std::span<float>> values;
  for (const NamedTensor& tensor : parameters()) values[tensor.name] = tensor.values;
  for (const NamedTensor& tensor : statistics()) values[tensor.name] = tensor.values;
  for (const ParameterSpec& parameter : compiler_->parameters()) {
    const RandomStream random(config_.run.seed, Purpose::kInitialize, stream_of(parameter.name));
    parameter.initializer.fill(values.at(parameter.name), parameter.shape, random);
  }
  for (const StatisticSpec& statistic : compiler_->statistics()) {
    std::ranges::fill(values.at(statistic.name), statistic.initial);
  }
  write_back();
  step_ = 0;
}

std::string Training::parameters_sha256() {
  Sha256 digest;
  for (const NamedTensor& tensor : parameters()) digest.update(std::as_bytes(tensor.values));
  return digest.hex();
}

// ---- Plans -------------------------------------------------------------------------------------

std::size_t memory_of(const Plan& plan) {
  return plan.arena_bytes + plan.shared_arena_bytes + plan.state_bytes() + plan.input_bytes();
}

void check_memory(const Device& device, std::size_t bytes, int workers) {
  const double needed = static_cast<double>(bytes) * workers;
  const std::size_t available = device.memory_limit();
  check_input(needed <= static_cast<double>(available), "the training needs ", needed / 1e9, " GB (",
              static_cast<double>(bytes) / 1e9, " GB for each of ", workers, workers == 1 ? " worker), " : " workers), ",
              device.kind() == DeviceKind::kCpu ? std::string("this machine") : device.name(), " has ",
              static_cast<double>(available) / 1e9,
              " GB available: lower train.global_batch, use more microbatches or fewer workers");
}

const Plan& Training::training_plan() {
  return bound_training(loader_->batch_size(0)).executor.plan();
}

void Training::make_kernels() {
  require(training_plans_.empty() && inference_plans_.empty(), "kernels are made anew for Plans that are in use");
  compiler_->forget_kernels();
  const auto sizes = [](const Loader& loader) {  // of its batches: the last is the remainder
    return std::set{loader.batch_size(0), loader.batch_size(loader.batches() - 1)};
  };
  for (const std::int64_t samples : sizes(*loader_)) compiler_->training_plan(samples);
  if (!evaluated_) return;
  for (const std::int64_t samples : sizes(*evaluated_->loader)) compiler_->inference_plan(samples, true);
}

Range Training::range_of_rank(std::int64_t samples) const {
  const Range range = Microbatches(samples, microbatches_)
                          .samples_of_rank(worker_.rank(), worker_.world_size());
  return {range.begin, range.end};
}

void Training::use_recordings(bool use) {
  uses_recordings_ = use;
  for (auto& [samples, bound] : training_plans_) bound->executor.use_recordings(use);
}

void Training::trace_to(Trace* trace) {
  trace_ = trace;
  if (trace != nullptr) data_name_ = trace->name(name_of(Phase::kData));
  for (auto& [samples, bound] : training_plans_) bound->executor.trace_to(trace);
}

void Training::bind_inputs(BoundPlan& bound) {
  Executor& executor = bound.executor;
  for (const ModelInput& input : data_.model_inputs) bound.inputs.push_back(executor.find_input(input.name));
  bound.target = executor.find_input("target");
  bound.weights = executor.find_input("weights");
  bound.sample = executor.find_input("sample");
  bound.learning_rate = executor.find_input("learning_rate");
  bound.step = executor.find_input("step");
}

void Training::set_inputs(BoundPlan& bound, const FilledBatch& batch, Range range) const {
  const Executor& executor = bound.executor;
  const auto skip = static_cast<std::size_t>(range.begin - batch.range.begin);
  const auto set = [&](int input, const void* from) {
    if (input < 0) return;
    const std::size_t all = executor.plan().inputs[static_cast<std::size_t>(input)].type.bytes();
    const std::size_t sample = range.size() == 0 ? 0 : all / static_cast<std::size_t>(range.size());
    bound.executor.set_input(input, static_cast<const std::byte*>(from) + skip * sample);
  };
  for (std::size_t i = 0; i < bound.inputs.size(); ++i) set(bound.inputs[i], batch.buffers.inputs[i]);
  set(bound.target, batch.buffers.target);
  set(bound.weights, batch.buffers.weights);
  set(bound.sample, batch.buffers.samples);
}

Training::BoundPlan& Training::bound_training(std::int64_t samples) {
  std::unique_ptr<BoundPlan>& bound = training_plans_[samples];
  if (!bound) {
    Plan plan = compiler_->training_plan(samples);
    // The copy for a checkpoint is the host's.
    const std::size_t copy = worker_.device().reads_host_memory() ? own_state_bytes() : 0;
    check_memory(worker_.device(), memory_of(plan) + copy, worker_.workers_of_device());
    bound = std::make_unique<BoundPlan>(Executor(std::move(plan), states_, arena_));
    bind_inputs(*bound);
    bound->executor.follow({"loss", "gradient_norm"});
    bound->executor.use_recordings(uses_recordings_);
    if (worker_.world_size() > 1) bound->executor.report_to(&worker_.progress());
    bound->executor.trace_to(trace_);
  }
  return *bound;
}

Training::BoundPlan& Training::bound_inference(std::int64_t samples, bool with_loss) {
  std::unique_ptr<BoundPlan>& bound = inference_plans_[{samples, with_loss}];
  if (!bound) {
    bound = std::make_unique<BoundPlan>(
        Executor(compiler_->inference_plan(samples, with_loss), states_, arena_));
    bind_inputs(*bound);
  }
  return *bound;
}

// ---- Steps -------------------------------------------------------------------------------------

// The batch of the step after `step` steps, in memory that the step before no longer reads.
const FilledBatch& Training::batch_of(std::int64_t step) {
  if (queued_step_ != step) queue_->start(step / loader_->batches(), step % loader_->batches());
  queued_step_ = step + 1;
  batch_ = &queue_->next();
  if (spoilt_step_ == step + 1 && batch_->range.size() > 0) {
    *static_cast<float*>(batch_->buffers.inputs.at(0)) = std::nanf("");
  }
  return *batch_;
}

StepResult Training::run_step() {
  begin_step();
  return finish_step();
}

void Training::begin_step() {
  require(steps_under_way() <= steps_ahead(), steps_under_way(), " steps are under way");
  const std::int64_t step = next_step() - 1;
  BoundPlan& bound = bound_training(loader_->batch_size(step % loader_->batches()));
  StepResult result;
  result.learning_rate = schedule_.at(step);

  if (reading_ != nullptr) reading_->executor.wait_for_inputs();
  reading_ = &bound;
  worker_.progress().enter(Phase::kData);
  if (trace_ != nullptr) trace_->begin_step(step + 1);
  const std::int64_t start = monotonic_nanoseconds();
  const FilledBatch& batch = batch_of(step);
  set_inputs(bound, batch, batch.range);
  result.samples = batch.batch_size;
  bound.executor.set_number(bound.learning_rate, static_cast<float>(result.learning_rate));
  bound.executor.set_number(bound.step, step);
  const std::int64_t filled = monotonic_nanoseconds();
  if (trace_ != nullptr && trace_->recording()) trace_->record(data_name_, Track::kPhase, start, filled);
  bound.executor.run();
  result.data_seconds = static_cast<double>(filled - start) * 1e-9;
  under_way_[static_cast<std::size_t>(steps_begun_) % under_way_.size()] = {&bound, bound.executor.runs() - 1, result};
  ++steps_begun_;
  ++steps_under_way_;
}

StepResult Training::finish_step() {
  require(steps_under_way_ > 0, "no step is under way");
  const UnderWay& oldest = under_way_[static_cast<std::size_t>(steps_begun_ - steps_under_way_) % under_way_.size()];
  --steps_under_way_;
  Executor& executor = oldest.bound->executor;
  StepResult result = oldest.result;
  result.loss = executor.followed(oldest.run, 0);
  result.gradient_norm = executor.followed(oldest.run, 1);
  result.run_seconds = executor.seconds(oldest.run);
  if (std::isfinite(result.loss) && std::isfinite(result.gradient_norm)) {
    ++step_;
  } else {
    forget_what_follows();
  }
  return result;
}

// What was launched after a step that was not finite has changed nothing (sticky_gradient_scale); after this, steps do.
void Training::forget_what_follows() {
  steps_under_way_ = 0;
  if (!states_.contains(kHaltedState)) return;
  worker_.device().synchronize();
  const float no = 0;
  worker_.device().copy_in(states_.data(kHaltedState), &no, sizeof no);
}

std::string Training::find_not_finite() {
  if (queued_step_ != step_ + 1) batch_of(step_);  // a later one has been read meanwhile
  const Microbatches cut(batch_->batch_size, microbatches_);
  const Range mine = cut.of_rank(worker_.rank(), worker_.world_size());
  std::string found;
  for (std::int64_t m = mine.begin; m < mine.end && found.empty(); ++m) {
    const Range range = cut.samples_of(m);
    BoundPlan bound(Executor(compiler_->inspection_plan(range.size(), batch_->batch_size), states_, arena_));
    bind_inputs(bound);
    set_inputs(bound, *batch_, range);
    bound.executor.set_number(bound.step, step_);
    bound.executor.run();
    for (const PlanValue& output : bound.executor.plan().outputs) {
      const bool inner = output.name.find(' ') != std::string::npos;  // "<number> <node>"
      if (!inner) continue;
      const auto* values = static_cast<const float*>(bound.executor.output(output.name));
      const auto* end = values + output.type.elements();
      if (std::all_of(values, end, [](float v) { return std::isfinite(v); })) continue;
      found = output.name.substr(output.name.find(' ') + 1);
      break;
    }
  }
  const auto all = gather_texts(worker_.communicator(), found, "search for NaN");
  for (std::size_t rank = 0; rank < all.size(); ++rank) {
    if (!all[rank].empty()) return all.size() == 1 ? all[rank] : text(all[rank], " on rank ", rank);
  }
  return {};
}

void Training::check_replicas() {
  if (worker_.world_size() == 1) return;
  std::vector<NamedTensor> all = parameters();
  for (const NamedTensor& tensor : statistics()) all.push_back(tensor);
  std::vector<Claim> claims;
  std::uint64_t together = 0;
  for (const NamedTensor& tensor : all) {
    const std::uint64_t hash = xxh3(std::as_bytes(tensor.values));
    claims.push_back({tensor.name, hex_of(hash)});
    together = together * 0x9E3779B97F4A7C15ull + hash;
  }
  // One exchange where all is well; tensor by tensor where it is not.
  bool equal = true;
  for (const std::string& theirs : gather_texts(worker_.communicator(), hex_of(together), "check of the replicas")) {
    equal = equal && theirs == hex_of(together);
  }
  if (equal) return;
  try {
    agree(worker_.communicator(), claims);
  } catch (const SharedError& error) {
    throw SharedError(ErrorKind::kEnvironment,
                      text("step ", step_, ": the replicas are no longer equal: ", error.what(),
                           " (hashes): faulty memory or hardware there? The last checkpoint is good"));
  }
}

// ---- Evaluation --------------------------------------------------------------------------------

namespace {

// States of several metrics of one batch as one list of doubles: batch, then for each metric length and state.
void append_states(std::vector<double>& out, std::int64_t batch,
                   const std::vector<std::vector<double>>& states) {
  out.push_back(static_cast<double>(batch));
  for (const auto& state : states) {
    out.push_back(static_cast<double>(state.size()));
    out.insert(out.end(), state.begin(), state.end());
  }
}

}  // namespace

Training::Evaluated& Training::evaluated(const Subset& subset) {
  if (evaluated_ && evaluated_->subset.dataset == subset.dataset && evaluated_->subset.windows == subset.windows &&
      evaluated_->subset.ids == subset.ids) {
    return *evaluated_;
  }
  evaluated_ = std::make_unique<Evaluated>(subset);
  evaluated_->loader = make_loader(config_, data_, subset, LoaderUse::kEvaluation, microbatches_, classes_);
  BatchQueueOptions options = queue_options(config_, data_, *evaluated_->loader);
  options.range_of = whole_batch;
  options.microbatches = {0, microbatches_};
  evaluated_->queue = std::make_unique<BatchQueue>(*evaluated_->loader, worker_.device(), std::move(options));
  return *evaluated_;
}

std::vector<MetricValue> Training::evaluate(const Subset& subset, const EvaluateOptions& options) {
  const std::vector<std::string>& names = options.names.empty() ? config_.evaluate.metrics : options.names;
  const Shape& output = compiler_->output_sample();
  const auto metrics = make_metrics(names, task_of_loss(config_.train.loss->kind()), metric_outputs());
  Evaluated& source = evaluated(subset);
  const std::int64_t batches = source.loader->batches();
  // Batches that follow one another, so that each worker reads its own part of the files.
  const Range own = piece_of(batches, worker_.world_size(), worker_.rank());
  std::vector<double> mine;
  if (own.size() > 0) source.queue->start(0, own.begin, own.size());
  // As many rounds as the rank with the most batches has.
  const std::int64_t rounds = (batches + worker_.world_size() - 1) / worker_.world_size();
  for (std::int64_t number = own.begin; number < own.begin + rounds; ++number) {
    if (options.keep_going && number > own.begin && !options.keep_going()) return {};
    if (number >= own.end) continue;
    const FilledBatch& batch = source.queue->next();
    const std::int64_t samples = batch.batch_size;
    BoundPlan& bound = bound_inference(samples, true);
    set_inputs(bound, batch, batch.range);
    bound.executor.run();
    const auto* outputs = static_cast<const float*>(bound.executor.output("output"));
    const auto targets = static_cast<std::size_t>(samples * data_.target.elements());
    MetricBatch measured{.samples = samples,
                         .outputs = {outputs, static_cast<std::size_t>(samples * output.elements())}};
    if (data_.target.dtype == DType::kI32) {
      measured.labels = {static_cast<const std::int32_t*>(batch.buffers.target), targets};
    } else {
      measured.targets = {static_cast<const float*>(batch.buffers.target), targets};
    }
    if (batch.buffers.weights != nullptr) {
      measured.weights = {batch.buffers.weights, static_cast<std::size_t>(samples)};
    }
    measured.loss = *static_cast<const float*>(bound.executor.output("loss"));
    std::vector<std::vector<double>> states;
    for (const MetricPtr& metric : metrics) states.push_back(metric->measure(measured));
    append_states(mine, number, states);
    if (options.outputs_of) options.outputs_of(number * config_.evaluate.batch, samples, outputs);
  }

  // Every rank merges the states of all batches in the order of the batches.
  std::vector<std::vector<double>> totals;
  for (const MetricPtr& metric : metrics) totals.push_back(metric->empty());
  std::int64_t expected = 0;
  for (const std::vector<double>& from : gather_doubles(worker_.communicator(), mine, "evaluation")) {
    for (std::size_t at = 0; at < from.size();) {
      require(from[at++] == static_cast<double>(expected++), "evaluation: batches out of order");
      for (std::size_t k = 0; k < metrics.size(); ++k) {
        const auto length = static_cast<std::size_t>(from.at(at++));
        metrics[k]->merge(totals[k], std::span(from).subspan(at, length));
        at += length;
      }
    }
  }
  require(expected == batches, "evaluation: ", expected, " batches of ", batches);
  std::vector<MetricValue> values;
  for (std::size_t k = 0; k < metrics.size(); ++k) values.push_back(metrics[k]->value(totals[k]));
  return values;
}

std::vector<float> Training::predict(const Loader& loader) {
  const std::int64_t elements = compiler_->output_sample().elements();
  std::vector<float> out(static_cast<std::size_t>(loader.size() * elements));
  BatchQueueOptions options = queue_options(config_, data_, loader);
  options.range_of = whole_batch;
  options.microbatches = {0, 1};
  BatchQueue queue(loader, worker_.device(), std::move(options));
  queue.start(0, 0, loader.batches());
  float* to = out.data();
  for (std::int64_t number = 0; number < loader.batches(); ++number) {
    const FilledBatch& batch = queue.next();
    BoundPlan& bound = bound_inference(batch.batch_size, false);
    set_inputs(bound, batch, batch.range);
    bound.executor.run();
    to = std::copy_n(static_cast<const float*>(bound.executor.output("output")), batch.batch_size * elements, to);
  }
  return out;
}

}  // namespace lockstep
