#include "dist/compile.h"

#include <algorithm>

#include "core/base/error.h"
#include "core/builtin/builtin.h"
#include "core/builtin/reorder.h"
#include "core/passes/autodiff.h"
#include "core/passes/cast_states.h"
#include "core/passes/eliminate_dead.h"
#include "core/passes/fuse.h"
#include "core/passes/layout.h"
#include "core/passes/mixed_precision.h"
#include "dist/distribute.h"
#include "ops/register.h"

namespace lockstep {

Compiler::Compiler(const KernelRegistry& registry, Device& device, Communicator& communicator,
                   CompileOptions options)
    : registry_(registry),
      device_(device),
      communicator_(communicator),
      options_(std::move(options)),
      kernels_(registry, device) {
  check_pipeline_options(options_.pipeline, all_passes());
  const ForwardGraph model = options_.forward(1, true);
  parameters_ = model.parameters;
  statistics_ = model.statistics;
  check_parameters();
  buckets_ = make_buckets(parameters_, statistics_, options_.bucket_bytes);
  const Shape& output = model.graph.type(model.output).shape;
  check_input(output.rank() >= 1 && output[0] == 1, "the model's output for one sample is ", output,
              ", expected (1, ...)");
  output_sample_ = output.slice(1, output.rank());
}

// Before anything is made for them.
void Compiler::check_parameters() const {
  const ParameterSpec* largest = nullptr;
  double bytes = 0;
  for (const ParameterSpec& parameter : parameters_) {
    bytes += sizeof(float) * static_cast<double>(parameter.shape.elements());
    if (largest == nullptr || parameter.shape.elements() > largest->shape.elements()) largest = &parameter;
  }
  const auto available = static_cast<double>(device_.memory_limit());
  check_input(bytes <= available, "the parameters alone need ", bytes / 1e9, " GB, this machine has ", available / 1e9,
              " GB available; the largest is ", largest == nullptr ? std::string() : largest->name, " of shape ",
              largest == nullptr ? Shape{} : largest->shape, ": make the model smaller");
  check_input(parameters_.empty() || std::ranges::any_of(parameters_, &ParameterSpec::trainable),
              "every layer with parameters is frozen, so there is nothing to train; leave at least one of them trainable");
}

// ---- Passes ------------------------------------------------------------------------------------

Pass Compiler::mixed_precision_pass() const {
  const bool bf16 = options_.bf16;
  return {"mixed_precision",
          [bf16](const Graph& graph) { return bf16 ? mixed_precision(graph) : graph; }};
}

Pass Compiler::fuse_pass() const {
  return {"fuse", [this](const Graph& graph) { return fuse(graph, fusion_patterns(device_.kind())); }, true};
}

Pass Compiler::cast_states_pass() const {
  const bool worth_it = options_.bf16 && device_.queues_work();
  return {"cast_states", [worth_it](const Graph& graph) { return worth_it ? cast_states(graph) : graph; }, true};
}

Pass Compiler::layout_pass() const {
  return {"layout",
          [this](const Graph& graph) {
            return choose_layouts(graph, registry_, device_,
                                  [](Graph& to, ValueId value, std::shared_ptr<const Layout> layout) {
                                    return reorder(to, value, std::move(layout));
                                  });
          },
          true};
}

namespace {

const Pass kEliminateDead{"eliminate_dead", eliminate_dead, true};
const char kAutodiff[] = "autodiff";
const char kDistribute[] = "distribute";

}  // namespace

std::vector<Pass> Compiler::all_passes() const {
  return {mixed_precision_pass(), {kAutodiff, nullptr}, fuse_pass(),  {kDistribute, nullptr},
          cast_states_pass(),     layout_pass(),        kEliminateDead};
}

// ---- Training ----------------------------------------------------------------------------------

ValueId Compiler::add_loss(Graph& graph, ValueId prediction, const TensorType& target_sample, std::int64_t batch,
                           double scale) const {
  std::vector<std::int64_t> dims{batch};
  const auto sample = target_sample.shape.dims();
  dims.insert(dims.end(), sample.begin(), sample.end());
  const ValueId target = graph.input("target", {target_sample.dtype, Shape(dims), nullptr});
  const ValueId weights =
      options_.weights ? graph.input("weights", {DType::kF32, {batch}, nullptr}) : kNoValue;
  return options_.loss->build(graph, prediction, target, weights, scale);
}

// Forward, loss and backward of `samples` samples of a batch of `global_samples`.
Graph Compiler::differentiated(std::int64_t samples, std::int64_t global_samples) {
  ForwardGraph forward = options_.forward(samples, true);
  const TensorType& target = options_.training_target_sample ? *options_.training_target_sample : options_.target_sample;
  const ValueId loss = add_loss(forward.graph, forward.output, target, samples, 1.0 / global_samples);
  forward.graph.output("loss", loss);
  for (const StatisticSpec& statistic : forward.statistics) {
    if (!statistic.trainable) continue;
    require(statistic.batch_value != kNoValue, statistic.name, ": its layer gave no batch value");
    forward.graph.output("statistic/" + statistic.name, statistic.batch_value);
  }
  const Pass autodiff{kAutodiff, [this](const Graph& from) {
                        Graph graph = from;
                        std::vector<std::string> names;
                        std::vector<ValueId> states;
                        for (const ParameterSpec& parameter : parameters_) {
                          if (!parameter.trainable) continue;
                          names.push_back(parameter.name);
                          states.push_back(graph.find_state(parameter.name));
                        }
                        const ValueId loss = graph.find_output("loss");
                        const ValueId one = fill(graph, graph.type(loss), 1, "loss/one");
                        const auto gradients =
                            differentiate(graph, {{loss}}, {{one}}, states);
                        for (std::size_t i = 0; i < states.size(); ++i) {
                          if (gradients[i] == kNoValue) continue;
                          graph.output("gradient/" + names[i], gradients[i]);
                        }
                        return graph;
                      }};
  return run_pipeline(std::move(forward.graph), {mixed_precision_pass(), autodiff},
                      options_.pipeline, &times_);
}

Graph Compiler::microbatch_graph(std::int64_t samples, std::int64_t global_samples) {
  return run_pipeline(differentiated(samples, global_samples), {fuse_pass(), kEliminateDead},
                      options_.pipeline, &times_);
}

Plan Compiler::training_plan(std::int64_t samples) {
  const Microbatches cut(samples, options_.microbatches);
  std::map<std::int64_t, Graph> graphs;
  for (std::int64_t m = 0; m < cut.count; ++m) {
    const std::int64_t size = cut.samples_of(m).size();
    if (!graphs.contains(size)) graphs.emplace(size, microbatch_graph(size, samples));
  }
  const DistributeOptions distribution{.samples = samples,
                                       .microbatches = options_.microbatches,
                                       .rank = communicator_.rank(),
                                       .world_size = communicator_.size(),
                                       .nodes = communicator_.nodes(),
                                       .fast = options_.fast_reduction,
                                       .clip_norm = options_.clip_norm,
                                       .runs_ahead = options_.runs_ahead};
  const Pass spread{kDistribute, [&](const Graph&) {
                      return distribute(graphs, buckets_, *options_.optimizer, distribution);
                    }};
  return finish(run_pipeline({}, {spread}, options_.pipeline, &times_));
}

Plan Compiler::finish(const Graph& graph) {
  return lower(run_pipeline(graph, {cast_states_pass(), layout_pass(), kEliminateDead}, options_.pipeline, &times_),
               kernels_, options_.lowering);
}

// ---- Inference and inspection ------------------------------------------------------------------

Plan Compiler::inference_plan(std::int64_t batch, bool with_loss) {
  ForwardGraph forward = options_.forward(batch, false);
  forward.graph.output("output", forward.output);
  if (with_loss) {
    forward.graph.output("loss", add_loss(forward.graph, forward.output, options_.target_sample, batch, 1.0));
  }
  const Graph fused = run_pipeline(std::move(forward.graph), {mixed_precision_pass(), fuse_pass()},
                                   options_.pipeline, &times_);
  return finish(read_from_buckets(fused, buckets_));
}

Plan Compiler::inspection_plan(std::int64_t samples, std::int64_t global_samples) {
  Graph graph = differentiated(samples, global_samples);
  int number = 0;
  for (const Node& node : graph.nodes()) {
    for (const ValueId value : node.outputs) {
      if (graph.type(value).dtype == DType::kF32) graph.output(text(number++, " ", node.name), value);
    }
  }
  return lower(read_from_buckets(graph, buckets_), kernels_);
}

}  // namespace lockstep
