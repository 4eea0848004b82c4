// lockstep evaluate RUN and lockstep predict RUN: what a finished (or stopped) run has learnt.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>

#include "core/base/error.h"
#include "core/base/file.h"
#include "core/base/hdf5/hdf5.h"
#include "dist/agree.h"
#include "launcher/checkpoint/resume.h"
#include "launcher/checkpoint/stored_checkpoint.h"
#include "launcher/commands.h"
#include "launcher/evaluation_detail.h"
#include "launcher/run_directory.h"
#include "launcher/setup.h"

namespace lockstep {
namespace {

// The weights of a checkpoint of the run: the newest one that is whole, or the one that was asked for.
void load_weights(Training& training, const RunDirectory& run, const std::string& which) {
  if (which != "newest") {
    std::string path;
    together(training.worker().communicator(), [&] { path = find_checkpoint(run.checkpoints(), which); });
    load_checkpoint(training, path, LoadedState::kWeights);
    return;
  }
  const LoadedCheckpoint loaded = load_newest_checkpoint(training, run.checkpoints(), LoadedState::kWeights);
  for (const std::string& why : loaded.passed_over) {
    if (training.worker().rank() != 0) continue;
    std::fprintf(stderr, "lockstep: warning: passed over a broken checkpoint: %s\n", why.c_str());
  }
  if (loaded.found) return;
  throw SharedError(ErrorKind::kBadInput,
                    text(run.path(), ": holds no checkpoint that can be loaded; train it first"));
}

// The training of a run directory with a checkpoint loaded.
std::unique_ptr<Setup> open_run(const RunDirectory& run, const std::string& checkpoint, DeviceChoice device,
                                DataNeed need, const Environment& environment) {
  auto setup = set_up({.config_path = run.config(),
                       .overrides = {},
                       .device = device,
                       .pipeline = {},
                       .compile_training = false,
                       .kept_data = run.data(),
                       .kept_algorithms = run.algorithms(),
                       .need = need},
                      environment);
  setup->guarded([&] {
    load_weights(*setup->training, run, checkpoint);
    return kExitDone;
  });
  return setup;
}

void print_metrics(const std::vector<MetricValue>& metrics, std::int64_t samples) {
  std::printf("%lld samples\n", static_cast<long long>(samples));
  for (const MetricValue& metric : metrics) {
    if (metric.shape.rank() == 0) {
      std::printf("  %-18s %.6g\n", metric.name.c_str(), metric.values.at(0));
      continue;
    }
    std::printf("  %s (row: target, column: prediction)\n", metric.name.c_str());
    const std::int64_t columns = metric.shape[-1];
    for (std::size_t i = 0; i < metric.values.size(); ++i) {
      const bool ends = static_cast<std::int64_t>(i + 1) % columns == 0;
      std::printf("%s%6.0f%s", i % columns == 0 ? "    " : "", metric.values[i], ends ? "\n" : "");
    }
  }
}

}  // namespace

int run_command(const EvaluateCommand& command, const ProgramContext& context) {
  const RunDirectory run = RunDirectory::open(command.run);
  const DataNeed need = command.data.empty() ? DataNeed::kTest : DataNeed::kNothing;
  const auto setup = open_run(run, command.checkpoint, command.device, need, context.environment);
  return setup->guarded([&] {
    Subset subset = setup->data.test;
    Communicator& communicator = setup->worker->communicator();
    if (!command.data.empty()) {
      together(communicator, [&] { try_sources({command.data}); });
      subset = open_like(setup->config, setup->data, command.data, communicator);
    }
    together(communicator, [&] {
      check_input(subset.dataset != nullptr, run.path(),
                  ": was trained without test data; name some with --data");
    });
    const EvaluationDetail detail = evaluate_in_detail(*setup->training, subset);
    if (setup->worker->rank() != 0) return kExitDone;
    if (command.data.empty()) local_files().write_atomic(run.evaluation(), detail.json);
    if (!command.quiet) print_metrics(detail.metrics, subset.size());
    return kExitDone;
  });
}

int run_command(const PredictCommand& command, const ProgramContext&) {
  const RunDirectory run = RunDirectory::open(command.run);
  const auto setup = open_run(run, command.checkpoint, command.device, DataNeed::kNothing, {});
  Training& training = *setup->training;
  const Config& config = setup->config;
  std::error_code missing;
  check_input(!std::filesystem::equivalent(command.input, command.output, missing), command.output,
              ": is the file that is read; name another with --output");
  try_sources({command.input});
  const Subset subset = open_for_prediction(config, setup->data, command.input);
  const auto loader = make_loader(config, setup->data, subset, LoaderUse::kPrediction);
  const std::vector<float> outputs = training.predict(*loader);
  const Shape& sample = training.compiler().output_sample();
  std::vector<std::int64_t> dims{subset.size()};
  dims.insert(dims.end(), sample.dims().begin(), sample.dims().end());
  Hdf5Writer file(command.output);
  file.write("output", DType::kF32, Shape(dims), outputs.data());

  const Task task = task_of_loss(config.train.loss->kind());
  std::vector<float> probabilities(outputs.size());
  if (task == Task::kClasses) {
    const std::int64_t classes = training.classes();
    std::vector<std::int32_t> labels;
    for (std::size_t at = 0; at < outputs.size(); at += classes) {
      const auto row = softmax_of({outputs.data() + at, static_cast<std::size_t>(classes)});
      std::ranges::transform(row, probabilities.begin() + at, [](double p) { return static_cast<float>(p); });
      labels.push_back(static_cast<std::int32_t>(std::ranges::max_element(row) - row.begin()));
    }
    file.write("probability", DType::kF32, Shape(dims), probabilities.data());
    const Shape label_shape = Shape(dims).slice(0, static_cast<int>(dims.size()) - 1);
    file.write("label", DType::kI32, label_shape, labels.data());
  } else if (task == Task::kBinary) {
    std::ranges::transform(outputs, probabilities.begin(),
                           [](float logit) { return 1.0f / (1.0f + std::exp(-logit)); });
    file.write("probability", DType::kF32, Shape(dims), probabilities.data());
  }
  file.commit();
  if (!command.quiet) {
    std::printf("%lld predictions in %s\n", static_cast<long long>(subset.size()), command.output.c_str());
  }
  return kExitDone;
}

}  // namespace lockstep
