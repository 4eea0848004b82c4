// The commands that take weights out of checkpoints and put them into runs: checkpoint export, import and average.
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "core/base/error.h"
#include "core/base/file.h"
#include "dist/agree.h"
#include "launcher/checkpoint/checkpoint_writer.h"
#include "launcher/checkpoint/stored_checkpoint.h"
#include "launcher/commands.h"
#include "launcher/run_directory.h"
#include "launcher/setup.h"
#include "launcher/weights/average.h"
#include "launcher/weights/model_weights.h"
#include "launcher/weights/onnx_file.h"
#include "launcher/weights/onnx_model.h"
#include "launcher/weights/weights_file.h"

namespace lockstep {
namespace {

constexpr const char* kProgram = "lockstep " LOCKSTEP_VERSION;

// ---- Export ------------------------------------------------------------------------------------

// The model as the run knows it, without its data.
void export_onnx(const RunDirectory& run, const CheckpointExportCommand& command, const Weights& weights,
                 const std::string& checkpoint, const std::string& step) {
  const Config config = load_config(run.config(), {});
  const auto alone = make_single_communicator();
  const RunData data = open_run_data(config, *alone, {.need = DataNeed::kNothing, .record = read_data_record(run.data())});
  OnnxHeader header{.name = std::filesystem::path(command.output).stem(), .version = LOCKSTEP_VERSION, .metadata = {{"step", step}}};
  if (!data.record.class_names.empty()) {
    header.metadata["class_names"] = nlohmann::json(data.record.class_names).dump();
  }
  write_onnx(command.output, onnx_model(config, data, weights, checkpoint), header);
}

// ---- Into a run --------------------------------------------------------------------------------

struct NewRun {
  std::string path;
  SetupOptions setup;
  std::string where;  // the weights are from
};

// Makes the run directory with a checkpoint of step 0. All ranks call it with equal weights.
void make_run(const NewRun& target, const Weights& weights, const ProgramContext& context) {
  const auto setup = set_up(target.setup, context.environment);
  setup->guarded([&] {
    Training& training = *setup->training;
    Communicator& communicator = setup->worker->communicator();
    RunDirectory run(target.path);
    together(communicator, [&] {
      check_weights(target.where, weights,
                    setup->config.model.with_inputs(setup->data.model_inputs).build(1, false, setup->config.run.seed));
      training.initialize();
      if (communicator.rank() != 0) return;
      run = RunDirectory::create(target.path, ExistingRun::kRefuse);
      local_files().write_atomic(run.data(), to_json(setup->data.record));
      local_files().write_atomic(run.config(), setup->config.toml_of_run(communicator.size()));
    });
    for (const auto& tensors : {training.parameters(), training.statistics()}) {
      for (const NamedTensor& tensor : tensors) std::ranges::copy(weights.at(tensor.name).values, tensor.values.begin());
    }
    training.write_back();
    CheckpointWriter writer(training, {.directory = run.checkpoints()});
    writer.begin({});
    const CheckpointOutcome& outcome = writer.finish();
    if (!outcome.error.empty()) throw SharedError(ErrorKind::kEnvironment, outcome.error);
    return kExitDone;
  });
}

// The directory of the run that `source` is, or that holds the checkpoint which it is.
RunDirectory run_around(const std::string& of) {
  std::string source = std::filesystem::absolute(of).lexically_normal();
  while (source.size() > 1 && source.ends_with('/')) source.pop_back();
  for (const std::string& path : {source, directory_of(directory_of(source))}) {
    const RunDirectory run(path);
    if (is_file(run.config()) && is_file(run.data())) return run;
  }
  bad_input(of, ": is neither a run nor a checkpoint in one, which --run needs for the configuration; write a file with --output");
}

}  // namespace

int run_command(const CheckpointExportCommand& command, const ProgramContext&) {
  const RunDirectory run = RunDirectory::open(command.run);
  StoredCheckpoint checkpoint = StoredCheckpoint::open(find_checkpoint(run.checkpoints(), command.checkpoint));
  const std::string path = checkpoint.path(), step = std::to_string(checkpoint.manifest().step);
  const Weights weights = weights_of(std::move(checkpoint)).read_all();
  if (command.format == ExportFormat::kOnnx) {
    export_onnx(run, command, weights, path, step);
  } else {
    const auto format = command.format == ExportFormat::kHdf5 ? WeightsFormat::kHdf5 : WeightsFormat::kSafetensors;
    write_weights(command.output, format, weights, {{"producer", kProgram}, {"step", step}});
  }
  if (!command.quiet) std::printf("step %s in %s\n", step.c_str(), command.output.c_str());
  return kExitDone;
}

int run_command(const CheckpointImportCommand& command, const ProgramContext& context) {
  check_input(!RunDirectory(command.run).holds_run(), command.run, ": holds a run already; name another directory with --run");
  const Weights weights = read_weights(command.weights);
  make_run({.path = command.run,
            .setup = {.config_path = command.config, .overrides = command.set, .pipeline = {}, .compile_training = false},
            .where = command.weights},
           weights, context);
  if (!command.quiet && context.environment.rank == 0) {
    const std::string run = command.run, config = RunDirectory(run).config();
    std::printf("%zu tensors in %s; go on with: lockstep train %s --run %s --resume\n", weights.size(), run.c_str(),
                config.c_str(), run.c_str());
  }
  return kExitDone;
}

int run_command(const CheckpointAverageCommand& command, const ProgramContext& context) {
  const bool to_file = !command.output.empty();
  if (to_file) weights_format_of(command.output);  // before any work
  check_input(to_file || !RunDirectory(command.run).holds_run(), command.run,
              ": holds a run already; name another directory with --run");
  std::vector<TensorSource> sources;
  for (const std::string& source : command.sources) sources.push_back(open_weights(source));
  const Weights mean = average(sources);
  if (to_file) {
    write_weights(command.output, weights_format_of(command.output), mean,
                  {{"producer", kProgram}, {"mean_of", std::to_string(sources.size())}});
  } else {
    const RunDirectory run = run_around(command.sources.front());
    make_run({.path = command.run,
              .setup = {.config_path = run.config(),
                        .overrides = {},
                        .pipeline = {},
                        .compile_training = false,
                        .kept_data = run.data(),
                        .need = DataNeed::kNothing},
              .where = "the mean"},
             mean, context);
  }
  if (!command.quiet && context.environment.rank == 0) {
    std::printf("mean of %zu in %s\n", sources.size(), (to_file ? command.output : command.run).c_str());
  }
  return kExitDone;
}

}  // namespace lockstep
