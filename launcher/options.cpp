#include "launcher/options.h"

#include <algorithm>
#include <boost/program_options.hpp>
#include <charconv>
#include <filesystem>
#include <limits>
#include <optional>

#include "core/base/error.h"
#include "core/base/settings.h"

namespace lockstep {
namespace {

namespace po = boost::program_options;
using Arguments = std::vector<std::string>;

constexpr unsigned kHelpColumns = 98;

// Where the parser collects arguments that are no options; nobody can type this as an option.
constexpr const char* kPositional = "positional arguments";

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
  lockstep data import FILE     make a dataset of HDF5 shards from a CSV file
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

// The command line of one command.
class CommandLine {
 public:
  // `usage` is what stands behind "usage: lockstep "; `about` is one paragraph.
  CommandLine(std::string command, std::string usage, std::string about)
      : command_(std::move(command)), usage_(std::move(usage)), about_(std::move(about)) {}

  // Declares options: add()("name", value, "help").
  po::options_description_easy_init add() { return options_.add_options(); }

  // Names of the arguments that must be given, in order, as the usage writes them.
  void arguments(std::vector<std::string> names) { arguments_ = std::move(names); }

  // The text of --help where it was asked for.
  std::optional<ShowText> parse(const Arguments& given) {
    options_.add_options()("help,h", "print this");
    po::options_description all;
    all.add(options_);
    all.add_options()(kPositional, po::value<Arguments>());
    po::positional_options_description positional;
    positional.add(kPositional, -1);
    const int style = po::command_line_style::unix_style & ~po::command_line_style::allow_guessing;
    try {
      po::store(
          po::command_line_parser(given).options(all).positional(positional).style(style).run(),
          values_);
    } catch (const po::unknown_option& error) {
      unknown_option(error.get_option_name());
    } catch (const po::error& error) {
      refuse(error.what());
    }
    if (values_.count("help") > 0) return ShowText{help()};
    const Arguments found = list(kPositional);
    for (std::size_t i = found.size(); i < arguments_.size(); ++i) {
      refuse(arguments_[i] + " is missing");
    }
    if (found.size() > arguments_.size()) {
      refuse("unexpected argument '" + found[arguments_.size()] + "'");
    }
    return std::nullopt;
  }

  std::string argument(std::size_t i) const { return list(kPositional).at(i); }
  bool flag(const char* name) const { return values_.count(name) > 0; }
  std::string word(const char* name, const std::string& fallback = "") const {
    return flag(name) ? values_[name].as<std::string>() : fallback;
  }
  std::string required(const char* name) const {
    if (!flag(name)) refuse(text("--", name, " is missing"));
    return word(name);
  }
  Arguments list(const char* name) const {
    return flag(name) ? values_[name].as<Arguments>() : Arguments{};
  }

  std::int64_t number(const char* name, std::int64_t least, std::int64_t fallback) const {
    if (!flag(name)) return fallback;
    const std::string value = word(name);
    const std::string expected = text(" expects an integer from ", least, " on");
    try {
      std::size_t end = 0;
      const std::int64_t number = std::stoll(value, &end);
      if (end == value.size() && number >= least) return number;
    } catch (const std::logic_error&) {  // not a number, or not one that 64 bits hold
    }
    refuse(text("--", name, expected, ", found '", value, "'"));
  }

  // The position of the option's word among `words`; of `fallback` where the option is not given.
  std::size_t choice(const char* name, const Arguments& words, const std::string& fallback) const {
    const std::string value = word(name, fallback);
    const auto found = std::ranges::find(words, value);
    if (found != words.end()) return static_cast<std::size_t>(found - words.begin());
    std::string expected;
    for (const std::string& known : words) expected += (expected.empty() ? "" : ", ") + known;
    refuse(text("--", name, " expects one of ", expected, "; found '", value, "'"));
  }

  [[noreturn]] void refuse(const std::string& what) const {
    bad_input(command_, ": ", what, " (usage: lockstep ", usage_, ")");
  }

 private:
  std::string help() const {
    std::ostringstream out;
    out << "usage: lockstep " << usage_ << "\n\n" << about_ << "\n\n" << options_;
    return out.str();
  }

  [[noreturn]] void unknown_option(const std::string& option) const {
    std::vector<std::string> known;
    for (const auto& described : options_.options()) known.push_back(described->long_name());
    const std::string name = option.substr(std::min(option.find_first_not_of('-'), option.size()));
    const std::string nearest = nearest_name(name, known);
    bad_input(command_, ": unknown option '", option, "'",
              nearest.empty() ? "" : "; did you mean --" + nearest + "?", " ('lockstep ", command_,
              " --help' lists all)");
  }

  std::string command_, usage_, about_;
  po::options_description options_{"options", kHelpColumns, kHelpColumns / 2};
  po::variables_map values_;
  std::vector<std::string> arguments_;
};

po::typed_value<std::string>* value(const char* name) {
  return po::value<std::string>()->value_name(name);
}

// A value that may be given several times.
po::typed_value<Arguments>* values(const char* name) {
  return po::value<Arguments>()->value_name(name);
}

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
             "slow-data, nan or flip; may be repeated");
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
  command.inject = line.list("inject");
  command.print_after = line.list("print-after");
  command.disable_pass = line.list("disable-pass");
  return command;
}

Command parse_evaluate(const Arguments& given) {
  CommandLine line("evaluate", "evaluate RUN [options]",
                   "Measures the newest checkpoint of the run directory RUN.");
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
  command.device = device_of(line);
  command.quiet = line.flag("quiet");
  return command;
}

Command parse_predict(const Arguments& given) {
  CommandLine line("predict", "predict RUN --input X.h5 --output Y.h5 [options]",
                   "Applies the newest checkpoint of the run directory RUN to samples.");
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
  command.json = line.flag("json");
  command.device = device_of(line);
  command.print_after = line.list("print-after");
  command.disable_pass = line.list("disable-pass");
  return command;
}

Command parse_data_info(const Arguments& given) {
  CommandLine line("data info", "data info NAME|PATH",
                   "Prints what a dataset holds: samples, shards, arrays with types and shapes, "
                   "classes.");
  line.arguments({"NAME|PATH"});
  if (auto help = line.parse(given)) return *help;
  return DataInspectCommand{line.argument(0)};
}

std::vector<std::string> split_at_commas(const std::string& words) {
  std::vector<std::string> out;
  std::istringstream in(words);
  for (std::string word; std::getline(in, word, ',');) out.push_back(word);
  return out;
}

char delimiter_of(const CommandLine& line) {
  const std::string word = line.word("delimiter", "auto");
  if (word == "auto") return '\0';
  if (word == "tab" || word == "\\t") return '\t';
  if (word == "space") return ' ';
  if (word.size() != 1) {
    line.refuse("--delimiter expects one character, tab, space or auto; found '" + word + "'");
  }
  return word[0];
}

Command parse_data_import(const Arguments& given) {
  CommandLine line(
      "data import", "data import FILE --output DIR --label COLUMN [options]",
      "Makes a dataset of HDF5 shards from a CSV file: every column but the label is a "
      "feature.");
  line.add()("output", value("DIR"), "folder for the shards");
  line.add()("name", value("NAME"), "of the dataset; without it the file's name");
  line.add()("label", value("COLUMN"),
             "the column to predict, by name or by number from 0; -1 is the last");
  line.add()("classes", value("A,B,..."),
             "labels in the order of their numbers; without it all that occur, sorted");
  line.add()("regression", "the label is a number, not a class");
  line.add()("shards", value("N"), "number of files (default 1)");
  line.add()("skip-lines", value("N"), "lines to pass over at the beginning (default 0)");
  line.add()("header", value("auto|yes|no"), "whether the first line names the columns");
  line.add()("delimiter", value("CHAR"), "between columns: a character, tab, space or auto");
  line.add()("missing", value("error|mean"),
             "empty fields: refuse the file (default), or take the column's mean");
  line.add()("dtype", value("f32|f64|u8|i8|i16|i32|i64"),
             "stored type of the features (default f32)");
  line.add()("sample-shape", value("H,W,C"), "shape of a sample's features; without it a vector");
  line.add()("gzip", value("0-9"), "compress the shards (default 0: not)");
  line.add()("overwrite", "replace a dataset of this name");
  line.add()("source", value("TEXT"), "where the data is from, kept in the shards");
  line.arguments({"FILE"});
  if (auto help = line.parse(given)) return *help;

  DataImportCommand command;
  command.file = line.argument(0);
  command.output = line.required("output");
  command.name = line.word("name", std::filesystem::path(command.file).stem().string());
  command.label = line.required("label");
  command.regression = line.flag("regression");
  command.classes = split_at_commas(line.word("classes"));
  if (command.regression && !command.classes.empty()) {
    line.refuse("--classes and --regression exclude each other");
  }
  command.shards = line.number("shards", 1, 1);
  command.skip_lines = line.number("skip-lines", 0, 0);
  constexpr CsvHeader kHeaders[] = {CsvHeader::kAuto, CsvHeader::kYes, CsvHeader::kNo};
  command.header = kHeaders[line.choice("header", {"auto", "yes", "no"}, "auto")];
  command.delimiter = delimiter_of(line);
  constexpr MissingValues kMissing[] = {MissingValues::kError, MissingValues::kMean};
  command.missing = kMissing[line.choice("missing", {"error", "mean"}, "error")];
  constexpr DType kTypes[] = {DType::kF32, DType::kF64, DType::kU8, DType::kI8,
                              DType::kI16, DType::kI32, DType::kI64};
  command.dtype =
      kTypes[line.choice("dtype", {"f32", "f64", "u8", "i8", "i16", "i32", "i64"}, "f32")];
  for (const std::string& extent : split_at_commas(line.word("sample-shape"))) {
    std::int64_t number = 0;
    const auto [end, error] = std::from_chars(extent.data(), extent.data() + extent.size(), number);
    if (error != std::errc() || end != extent.data() + extent.size() || number < 1) {
      line.refuse("--sample-shape: found '" + extent +
                  "', expected whole numbers above 0, as 8,8,1");
    }
    command.sample_shape.push_back(number);
  }
  command.gzip = line.number("gzip", 0, 0);
  if (command.gzip > 9) line.refuse("--gzip: expected a number from 0 to 9");
  command.overwrite = line.flag("overwrite");
  command.source = line.word("source");
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
      "fresh", "write the buffers before each call, as a backward pass does")("json", "print JSON");
  if (auto help = line.parse(given)) return *help;
  BenchAllReduceCommand command;
  command.min_bytes = line.number("min", 4, command.min_bytes);
  command.max_bytes = line.number("max", command.min_bytes, command.max_bytes);
  command.fresh = line.flag("fresh");
  command.json = line.flag("json");
  return command;
}

// ---- Commands that start processes --------------------------------------------------------------

void add_target(CommandLine& line) {
  line.add()("hosts", value("H1:N,H2:N"),
             "hosts and their workers; without a number one per core; without hosts this machine, "
             "or what Slurm gave");
  line.add()("hostfile", value("FILE"), "the hosts, one a line: NAME slots=N");
  line.add()("mpirun", value("PATH"), "Open MPI's mpirun; without it the first one of PATH");
  line.add()("remote-shell", value("COMMAND"), "starts what runs on other hosts, instead of ssh");
  line.add()("mca", values("NAME=VALUE"),
             "a setting of Open MPI, as btl_tcp_if_include=eth0; may be repeated");
}

LaunchTarget target_of(const CommandLine& line) {
  LaunchTarget target;
  for (const char* name : {"hosts", "hostfile", "mpirun", "remote-shell"}) {
    if (line.flag(name) && line.word(name).empty()) {
      line.refuse(text("--", name, " is empty"));
    }
  }
  target.hosts = line.word("hosts");
  target.hostfile = line.word("hostfile");
  if (line.flag("hosts") && line.flag("hostfile")) {
    line.refuse("--hosts and --hostfile exclude each other");
  }
  target.mpirun = line.word("mpirun");
  target.remote_shell = line.word("remote-shell");
  target.mca = line.list("mca");
  for (const std::string& setting : target.mca) {
    const std::size_t equal = setting.find('=');
    if (equal == std::string::npos || equal == 0) {
      line.refuse("--mca expects NAME=VALUE, found '" + setting + "'");
    }
  }
  return target;
}

Command parse_launch(const Arguments& given) {
  const auto dashes = std::ranges::find(given, "--");
  CommandLine line("launch", "launch [options] -- train CONFIG [options of train]",
                   "Starts a command of Lockstep with several workers under mpirun, sees to it that all "
                   "of them end,\nand starts a training again that failed. SIGINT, SIGTERM and SIGUSR1 "
                   "end a training with a\ncheckpoint; a second one ends it at once. The exit code is "
                   "that of the run.");
  line.add()("workers,n", value("N"), "number of workers; without it one per core");
  add_target(line);
  line.add()("max-restarts", value("R"),
             "start a training again that failed, from its last checkpoint, at most R times "
             "(default 0)");
  line.add()("dry-run", "print the call of mpirun; of a training also who would run where");
  line.add()("verbose", "print all that mpirun says");
  if (auto help = line.parse({given.begin(), dashes})) return *help;
  if (dashes == given.end() || dashes + 1 == given.end()) {
    line.refuse("the command to start is missing after --");
  }

  LaunchCommand command;
  command.target = target_of(line);
  command.workers = line.number("workers", 1, 0);
  command.max_restarts = line.number("max-restarts", 0, 0);
  command.dry_run = line.flag("dry-run");
  command.verbose = line.flag("verbose");
  command.command.assign(dashes + 1, given.end());
  const Command inner = parse_command_line(command.command);
  if (std::holds_alternative<ShowText>(inner)) return inner;
  const auto* train = std::get_if<TrainCommand>(&inner);
  command.trains = train != nullptr && !train->dry_run;
  if (train == nullptr && !std::holds_alternative<EvaluateCommand>(inner) &&
      !std::holds_alternative<BenchAllReduceCommand>(inner)) {
    line.refuse("'" + command.command[0] +
                "' is done by one process; started with several are train, evaluate and bench");
  }
  if (command.max_restarts > 0 && !command.trains) {
    line.refuse("--max-restarts is for trainings, which leave checkpoints");
  }
  return command;
}

Command parse_doctor(const Arguments& given) {
  CommandLine line("doctor", "doctor [options]",
                   "Looks at this machine and this installation, starts two workers and measures their "
                   "exchange; with\nhosts, also at these. One line a check, with what to do; exit code 1 "
                   "where one failed.");
  add_target(line);
  if (auto help = line.parse(given)) return *help;
  return DoctorCommand{target_of(line)};
}

using Parser = Command (*)(const Arguments&);

struct NamedParser {
  std::string name;
  Parser parse;
};

// Finds `word` among the parsers and applies it to `rest`; `before` is what stands before it.
Command parse_named(const std::string& before, const std::vector<NamedParser>& parsers,
                    const std::string& word, const Arguments& rest) {
  std::vector<std::string> names;
  for (const NamedParser& parser : parsers) {
    if (parser.name == word) return parser.parse(rest);
    names.push_back(parser.name);
  }
  const std::string nearest = nearest_name(word, names);
  bad_input(before, "unknown command '", word, "'",
            nearest.empty() ? "" : "; did you mean '" + nearest + "'?",
            " ('lockstep --help' lists all)");
}

Command parse_data(const Arguments& given) {
  const std::string usage =
      "usage: lockstep data info NAME|PATH\n       lockstep data import FILE "
      "--output DIR --label COLUMN [options]\n";
  if (given.empty()) {
    bad_input("data: expected 'info' or 'import' ('lockstep --help' lists all)");
  }
  if (given[0] == "--help" || given[0] == "-h") return ShowText{usage};
  return parse_named("data: ", {{"info", parse_data_info}, {"import", parse_data_import}}, given[0],
                     {given.begin() + 1, given.end()});
}

Command parse_bench(const Arguments& given) {
  if (given.empty()) bad_input("bench: expected 'allreduce' ('lockstep --help' lists all)");
  if (given[0] == "--help" || given[0] == "-h") return ShowText{"usage: lockstep bench allreduce [options]\n"};
  return parse_named("bench: ", {{"allreduce", parse_bench_allreduce}}, given[0], {given.begin() + 1, given.end()});
}

}  // namespace

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
                      {"report", parse_report},
                      {"bench", parse_bench}},
                     arguments[0], {arguments.begin() + 1, arguments.end()});
}

}  // namespace lockstep
