#include "launcher/checkpoint_options.h"

#include <filesystem>

#include "core/base/error.h"
#include "launcher/command_line.h"

namespace lockstep {
namespace {

constexpr const char* kCheckpointHelp =
    R"(usage: lockstep checkpoint list RUN                                        which there are
       lockstep checkpoint verify RUN [--checkpoint WHICH]                whether every byte is right
       lockstep checkpoint diff A B                                       how two differ
       lockstep checkpoint export RUN --output FILE [options]             weights or model for other programs
       lockstep checkpoint import WEIGHTS --config CONFIG --run DIR       a run that begins with weights
       lockstep checkpoint average A B... --output FILE | --run DIR       the mean of several

  lockstep checkpoint COMMAND --help                                      options of a command
)";

Command parse_list(const Arguments& given) {
  CommandLine line("checkpoint list", "checkpoint list RUN [--quick]",
                   "Lists the checkpoints of the run directory RUN: step, when it was written, size, by how many workers,\n"
                   "metrics, and whether it is whole.");
  line.add()("quick", "look at manifests and sizes only, not at every byte");
  line.arguments({"RUN"});
  if (auto help = line.parse(given)) return *help;
  return CheckpointListCommand{line.argument(0), line.flag("quick")};
}

Command parse_verify(const Arguments& given) {
  CommandLine line("checkpoint verify", "checkpoint verify RUN [--checkpoint WHICH]",
                   "Reads every byte of the checkpoints of RUN and compares it with its checksum. Exit code 1 where one is\nbroken.");
  line.add()("checkpoint", value("WHICH"), "newest, best (by checkpoint.best), the number of a step, or a checkpoint's directory; all without it");
  line.arguments({"RUN"});
  if (auto help = line.parse(given)) return *help;
  return CheckpointVerifyCommand{line.argument(0), line.word("checkpoint")};
}

Command parse_diff(const Arguments& given) {
  CommandLine line("checkpoint diff", "checkpoint diff A B [--quiet]",
                   "Compares two checkpoints tensor by tensor. A and B are directories of checkpoints or runs (then their\n"
                   "newest), or files of weights. Exit code 0 where all bits are equal, 1 where not.");
  line.add()("quiet", "print nothing, only exit");
  line.arguments({"A", "B"});
  if (auto help = line.parse(given)) return *help;
  return CheckpointDiffCommand{line.argument(0), line.argument(1), line.flag("quiet")};
}

// By --format, or by the ending of --output.
ExportFormat format_of(const CommandLine& line, const std::string& output) {
  constexpr ExportFormat kFormats[] = {ExportFormat::kSafetensors, ExportFormat::kHdf5, ExportFormat::kOnnx};
  if (line.flag("format")) return kFormats[line.choice("format", {"safetensors", "hdf5", "onnx"}, "safetensors")];
  const std::string ending = std::filesystem::path(output).extension();
  if (ending == ".safetensors") return ExportFormat::kSafetensors;
  if (ending == ".h5" || ending == ".hdf5") return ExportFormat::kHdf5;
  if (ending == ".onnx") return ExportFormat::kOnnx;
  line.refuse("--output '" + output + "' ends in none of .safetensors, .h5, .hdf5, .onnx; say --format safetensors, hdf5 or onnx");
}

Command parse_export(const Arguments& given) {
  CommandLine line("checkpoint export", "checkpoint export RUN --output FILE [options]",
                   "Writes the weights of a run as safetensors or HDF5, or the trained model as ONNX, for other programs.");
  line.add()("output", value("FILE"), "the file to write; one that is there is replaced");
  line.add()("format", value("FORMAT"), "safetensors, hdf5 or onnx; without it by the ending of FILE");
  add_which_checkpoint(line);
  line.add()("quiet", "print nothing but errors");
  line.arguments({"RUN"});
  if (auto help = line.parse(given)) return *help;
  CheckpointExportCommand command;
  command.run = line.argument(0);
  command.output = line.required("output");
  command.format = format_of(line, command.output);
  command.checkpoint = line.word("checkpoint", "newest");
  command.quiet = line.flag("quiet");
  return command;
}

Command parse_import(const Arguments& given) {
  CommandLine line("checkpoint import", "checkpoint import WEIGHTS --config CONFIG --run DIR [options]",
                   "Makes a run directory whose checkpoint of step 0 has the weights of a safetensors or HDF5 file. Names and\n"
                   "shapes are those of the model of CONFIG. Go on with train --resume, evaluate or predict.");
  line.add()("config", value("CONFIG"), "the TOML file");
  line.add()("run", value("DIR"), "the run directory; it must not hold a run");
  line.add()("set", values("KEY=VALUE"), "change the configuration; may be repeated");
  line.add()("quiet", "print nothing but errors");
  line.arguments({"WEIGHTS"});
  if (auto help = line.parse(given)) return *help;
  CheckpointImportCommand command;
  command.weights = line.argument(0);
  command.config = line.required("config");
  command.run = line.required("run");
  command.set = line.list("set");
  command.quiet = line.flag("quiet");
  return command;
}

Command parse_average(const Arguments& given) {
  CommandLine line("checkpoint average", "checkpoint average A B... --output FILE | --run DIR",
                   "The mean of the parameters and statistics of several checkpoints, summed in their order in double\n"
                   "precision. A, B, ... are directories of checkpoints or runs (then their newest), or files of weights.");
  line.add()("output", value("FILE"), "write the mean to a .safetensors or .h5 file");
  line.add()("run", value("DIR"), "or make a run directory of it, with the configuration of the run that A is or lies in");
  line.add()("quiet", "print nothing but errors");
  line.arguments({"A"}, true);
  if (auto help = line.parse(given)) return *help;
  CheckpointAverageCommand command;
  command.sources = line.all_arguments();
  command.output = line.word("output");
  command.run = line.word("run");
  if (command.output.empty() == command.run.empty()) line.refuse("expected one of --output FILE and --run DIR");
  command.quiet = line.flag("quiet");
  return command;
}

}  // namespace

void add_which_checkpoint(CommandLine& line) {
  line.add()("checkpoint", value("WHICH"),
             "newest (without it), best (by checkpoint.best), the number of a step, or a checkpoint's directory");
}

Command parse_checkpoint(const std::vector<std::string>& given) {
  if (given.empty()) {
    bad_input("checkpoint: expected 'list', 'verify', 'diff', 'export', 'import' or 'average' ('lockstep --help' lists all)");
  }
  if (given[0] == "--help" || given[0] == "-h") return ShowText{kCheckpointHelp};
  return parse_named("checkpoint: ",
                     {{"list", parse_list},
                      {"verify", parse_verify},
                      {"diff", parse_diff},
                      {"export", parse_export},
                      {"import", parse_import},
                      {"average", parse_average}},
                     given[0], {given.begin() + 1, given.end()});
}

}  // namespace lockstep
