#include "launcher/options.h"

#include <filesystem>

#include "core/base/error.h"
#include "launcher/checkpoint_options.h"
#include "launcher/command_line.h"
#include "launcher/data_options.h"
#include "launcher/start_options.h"

namespace lockstep {
namespace {

constexpr const char* kProgramHelp =
    R"(Lockstep trains neural networks data-parallel: every worker process holds a replica of the model,
and the result has the same bits on any number of workers.

  lockstep train CONFIG         train the model of a TOML configuration
  lockstep launch -- COMMAND    run train, evaluate or bench with several workers
  lockstep doctor               check this machine, and hosts, before the first run
  lockstep evaluate RUN         measure a trained model on held-out data
  lockstep predict RUN          apply a trained model to new samples
  lockstep plan CONFIG          show the compiled training step: memory, bytes, kernels
  lockstep data info DATA       what a dataset holds
  lockstep data verify DATA     whether every sample can be read and makes sense
  lockstep data import FILE     make a dataset of HDF5 shards from files
  lockstep data synthesize KIND make a dataset from a formula
  lockstep checkpoint list RUN  which checkpoints there are; also verify, diff
  lockstep checkpoint export RUN   weights as safetensors or HDF5, or the model as ONNX
  lockstep checkpoint import FILE  a run that begins with weights; also average
  lockstep report RUN           draw a run as one HTML page
  lockstep bench allreduce      measure the exchange between workers against MPI and memory

  lockstep COMMAND --help       options of a command
  lockstep --version

With several workers:
  lockstep launch -n 4 -- train CONFIG
  mpirun -n 4 lockstep train CONFIG

Exit codes: 0 done, 1 failed, 2 bad input, 75 stopped by a signal or the time limit with a
checkpoint written.
)";

void add_device(CommandLine& line) {
  line.add()("device", value("auto|cpu|cuda"), "where to compute; auto takes a GPU that works");
}

DeviceChoice device_of(const CommandLine& line) {
  constexpr DeviceChoice kChoices[] = {DeviceChoice::kAuto, DeviceChoice::kCpu,
                                       DeviceChoice::kCuda};
  return kChoices[line.choice("device", {"auto", "cpu", "cuda"}, "auto")];
}

void add_settings(CommandLine& line) {
  line.add()("set", values("KEY=VALUE"),
             "change the configuration: train.epochs=5, layer.2.units=64 (counted from 0), "
             "layer.hidden.units=64 (by name); may be repeated");
}

void add_faults(CommandLine& line) {
  line.add()("inject", values("FAULT@RANK:STEP"),
             "commit a fault to see what happens, as kill@2:10: exception, abort, segfault, kill, exit, stop, sleep, "
             "slow-data, nan, flip or full-disk; may be repeated");
}

void add_trace(CommandLine& line) {
  line.add()("trace", value("FILE"), "write when what ran on all workers, for ui.perfetto.dev or chrome://tracing");
  line.add()("trace-steps", value("FIRST:LAST"), "the steps of the trace, counted from 1; without it 1:50");
}

void add_passes(CommandLine& line) {
  line.add()("print-after", values("PASS"), "print the graph after that pass; may be repeated");
  line.add()("disable-pass", values("PASS"), "leave out an optional pass; may be repeated");
}

Command parse_train(const Arguments& given) {
  CommandLine line("train", "train CONFIG [options]",
                   "Trains the model of the TOML file CONFIG and leaves configuration, log, "
                   "checkpoints and summary\nin a run directory.");
  line.add()("run", value("DIR"),
             "the run directory; without it runs/NAME, for the configuration NAME.toml");
  add_settings(line);
  add_device(line);
  line.add()("resume", "go on from the newest checkpoint of the run; afresh where there is none");
  line.add()("overwrite", "remove the run that the directory holds");
  line.add()("quiet", "print nothing but errors");
  line.add()("dry-run", "prepare and check everything, show which worker is where, and write nothing");
  add_trace(line);
  add_faults(line);
  add_passes(line);
  line.arguments({"CONFIG"});
  if (auto help = line.parse(given)) return *help;

  TrainCommand command;
  command.config = line.argument(0);
  const std::string stem = std::filesystem::path(command.config).stem().string();
  command.run = line.word("run", "runs/" + stem);
  if (command.run.empty()) line.refuse("--run expects a directory, found ''");
  command.set = line.list("set");
  command.device = device_of(line);
  command.resume = line.flag("resume");
  command.overwrite = line.flag("overwrite");
  if (command.resume && command.overwrite) {
    line.refuse("--resume and --overwrite exclude each other: one keeps the run, one removes it");
  }
  command.quiet = line.flag("quiet");
  command.dry_run = line.flag("dry-run");
  command.trace = line.word("trace", "");
  command.trace_steps = line.word("trace-steps", "");
  if (!command.trace_steps.empty() && command.trace.empty()) line.refuse("--trace-steps needs --trace FILE");
  command.inject = line.list("inject");
  command.print_after = line.list("print-after");
  command.disable_pass = line.list("disable-pass");
  return command;
}

Command parse_evaluate(const Arguments& given) {
  CommandLine line("evaluate", "evaluate RUN [options]",
                   "Measures a checkpoint of the run directory RUN.");
  add_which_checkpoint(line);
  line.add()("data", value("NAME|PATH"),
             "a bundled dataset, an HDF5 file or a folder of shards; without it the test data of "
             "the run");
  add_device(line);
  line.add()("quiet", "print nothing but errors");
  line.arguments({"RUN"});
  if (auto help = line.parse(given)) return *help;

  EvaluateCommand command;
  command.run = line.argument(0);
  command.data = line.word("data");
  command.checkpoint = line.word("checkpoint", "newest");
  command.device = device_of(line);
  command.quiet = line.flag("quiet");
  return command;
}

Command parse_predict(const Arguments& given) {
  CommandLine line("predict", "predict RUN --input X.h5 --output Y.h5 [options]",
                   "Applies a checkpoint of the run directory RUN to samples.");
  add_which_checkpoint(line);
  line.add()("input", value("X.h5"), "HDF5 file with the arrays that the model reads");
  line.add()("output", value("Y.h5"), "HDF5 file to write the predictions to");
  add_device(line);
  line.add()("quiet", "print nothing but errors");
  line.arguments({"RUN"});
  if (auto help = line.parse(given)) return *help;

  PredictCommand command;
  command.run = line.argument(0);
  command.input = line.required("input");
  command.output = line.required("output");
  command.checkpoint = line.word("checkpoint", "newest");
  command.device = device_of(line);
  command.quiet = line.flag("quiet");
  return command;
}

Command parse_plan(const Arguments& given) {
  CommandLine line(
      "plan", "plan CONFIG [options]",
      "Compiles the training step of CONFIG and prints its steps, kernels, operations, "
      "bytes on the wire\nand peak memory per worker. Nothing is trained.");
  add_settings(line);
  line.add()("workers", value("N"), "compile for N workers; without it as many as were started");
  line.add()("json", "print JSON");
  add_device(line);
  add_passes(line);
  line.arguments({"CONFIG"});
  if (auto help = line.parse(given)) return *help;

  PlanCommand command;
  command.config = line.argument(0);
  command.set = line.list("set");
  command.workers = line.number("workers", 1, 0);
  constexpr std::int64_t kMostWorkers = 65536;
  if (command.workers > kMostWorkers) line.refuse(text("--workers expects at most ", kMostWorkers, ", found ", command.workers));
  command.json = line.flag("json");
  command.device = device_of(line);
  command.print_after = line.list("print-after");
  command.disable_pass = line.list("disable-pass");
  return command;
}

Command parse_report(const Arguments& given) {
  CommandLine line("report", "report RUN [--output FILE.html]",
                   "Draws the run directory RUN as one HTML page that needs nothing else.");
  line.add()("output", value("FILE.html"), "where to write it; without it RUN/report.html");
  line.arguments({"RUN"});
  if (auto help = line.parse(given)) return *help;
  return ReportCommand{line.argument(0), line.word("output")};
}

Command parse_bench_allreduce(const Arguments& given) {
  CommandLine line("bench allreduce", "bench allreduce [options]",
                   "Measures the exchange of gradients and parameters between the workers, as a training does it,\n"
                   "against MPI_Allreduce and against copying in memory. Start it under mpirun -n N.");
  line.add()("min", value("BYTES"), "smallest size; 4 without it")(
      "max", value("BYTES"), "largest size; 256 MiB without it")(
      "bucket", value("BYTES"), "exchanged at a time, as train.bucket_bytes; 1 MiB without it")(
      "fresh", "write the buffers before each call, as a backward pass does")("json", "print JSON");
  if (auto help = line.parse(given)) return *help;
  BenchAllReduceCommand command;
  command.min_bytes = line.number("min", 4, command.min_bytes);
  command.max_bytes = line.number("max", command.min_bytes, command.max_bytes);
  command.bucket_bytes = line.number("bucket", 4, command.bucket_bytes);
  command.fresh = line.flag("fresh");
  command.json = line.flag("json");
  return command;
}

Command parse_bench(const Arguments& given) {
  if (given.empty()) bad_input("bench: expected 'allreduce' ('lockstep --help' lists all)");
  if (given[0] == "--help" || given[0] == "-h") return ShowText{"usage: lockstep bench allreduce [options]\n"};
  return parse_named("bench: ", {{"allreduce", parse_bench_allreduce}}, given[0], {given.begin() + 1, given.end()});
}

}  // namespace

std::string run_directory_of(const TrainCommand& command) {
  if (!command.run.empty()) return command.run;
  return "runs/" + std::filesystem::path(command.config).stem().string();
}

Command parse_command_line(const std::vector<std::string>& arguments) {
  if (arguments.empty() || arguments[0] == "--help" || arguments[0] == "-h" ||
      arguments[0] == "help") {
    return ShowText{kProgramHelp};
  }
  if (arguments[0] == "--version") return ShowText{"lockstep " LOCKSTEP_VERSION "\n"};
  return parse_named("",
                     {{"train", parse_train},
                      {"launch", parse_launch},
                      {"doctor", parse_doctor},
                      {"evaluate", parse_evaluate},
                      {"predict", parse_predict},
                      {"plan", parse_plan},
                      {"data", parse_data},
                      {"checkpoint", parse_checkpoint},
                      {"report", parse_report},
                      {"bench", parse_bench}},
                     arguments[0], {arguments.begin() + 1, arguments.end()});
}

}  // namespace lockstep
