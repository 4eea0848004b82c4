// The command line of the program, read into one plain struct per command.
//
// Names that do not exist are bad_input with the nearest name that does; messages begin with the
// command, for main() puts the program's name before them. Parsing touches no file;
// it may be called from any thread.
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "datasets/import/format_options.h"
#include "datasets/import/shard_writer.h"
#include "datasets/synthesize/kind.h"
#include "dist/buckets.h"
#include "launcher/device_choice.h"
#include "launcher/launch_options.h"

namespace lockstep {

// --help, --version: print `text` and exit with code 0.
struct ShowText {
  std::string text;
};

struct TrainCommand {
  std::string config;            // path of the TOML file
  std::string run;               // run directory; without --run "runs/<name of the TOML file>"
  std::vector<std::string> set;  // "train.epochs=5", for read_toml
  DeviceChoice device = DeviceChoice::kAuto;
  bool resume = false;
  bool overwrite = false;  // never together with `resume`
  bool dry_run = false;
  bool quiet = false;
  std::string trace;                      // file for a trace; empty: none
  std::string trace_steps;                // "1:50", for launcher/trace_file.h; empty: the first ones
  std::vector<std::string> inject;        // faults to order, "kill@2:10", for launcher/fault.h
  std::vector<std::string> print_after;   // passes whose result is printed
  std::vector<std::string> disable_pass;  // optional passes that are left out
};

// Where that training writes.
std::string run_directory_of(const TrainCommand& command);

struct EvaluateCommand {
  std::string run;
  std::string data;  // name of a bundled dataset or a path; empty: the run's test data
  std::string checkpoint = "newest";  // for find_checkpoint()
  DeviceChoice device = DeviceChoice::kAuto;
  bool quiet = false;
};

struct PredictCommand {
  std::string run;
  std::string input, output;  // HDF5 files
  std::string checkpoint = "newest";  // for find_checkpoint()
  DeviceChoice device = DeviceChoice::kAuto;
  bool quiet = false;
};

struct PlanCommand {
  std::string config;
  std::vector<std::string> set;
  std::int64_t workers = 0;  // 0: as many as there are ranks
  bool json = false;
  DeviceChoice device = DeviceChoice::kAuto;
  std::vector<std::string> print_after, disable_pass;
};

struct DataVerifyCommand {  // data verify
  std::string dataset;
  std::string target;        // array of labels; empty: none is checked
  std::int64_t classes = 0;  // 0: as many as the array has names for, or any
};

struct DataInspectCommand {  // data info
  std::string dataset;       // name of a bundled dataset, or a path
};

struct DataImportCommand {
  std::vector<std::string> paths;
  std::string format = "auto";  // of datasets/import/format.h
  FormatOptions options;        // of the format
  ShardOptions shards;
};

struct DataSynthesizeCommand {
  std::string kind;  // of datasets/synthesize/kind.h
  SynthesisRequest request;
  ShardOptions shards;
};

struct CheckpointListCommand {
  std::string run;
  bool quick = false;  // sizes instead of checksums
};

struct CheckpointVerifyCommand {
  std::string run;
  std::string checkpoint;  // for find_checkpoint(); empty: all
};

struct CheckpointDiffCommand {
  std::string a, b;  // for open_state()
  bool quiet = false;
};

enum class ExportFormat { kSafetensors, kHdf5, kOnnx };

struct CheckpointExportCommand {
  std::string run;
  std::string checkpoint = "newest";  // for find_checkpoint()
  ExportFormat format = ExportFormat::kSafetensors;
  std::string output;
  bool quiet = false;
};

struct CheckpointImportCommand {
  std::string weights, config, run;
  std::vector<std::string> set;
  bool quiet = false;
};

struct CheckpointAverageCommand {
  std::vector<std::string> sources;  // for open_weights()
  std::string output, run;           // one of the two; the other is empty
  bool quiet = false;
};

struct ReportCommand {
  std::string run;
  std::string output;  // without --output "<run>/report.html"
};

struct BenchAllReduceCommand {
  std::int64_t min_bytes = 4, max_bytes = std::int64_t{256} << 20;
  std::int64_t bucket_bytes = kDefaultBucketBytes;  // exchanged at a time
  bool fresh = false;  // buffers are written before each call
  bool json = false;
};

using Command = std::variant<ShowText, TrainCommand, EvaluateCommand, PredictCommand, PlanCommand,
                             DataInspectCommand, DataVerifyCommand, DataImportCommand, DataSynthesizeCommand,
                             CheckpointListCommand, CheckpointVerifyCommand, CheckpointDiffCommand,
                             CheckpointExportCommand, CheckpointImportCommand, CheckpointAverageCommand,
                             ReportCommand, BenchAllReduceCommand, LaunchCommand, DoctorCommand>;

// `arguments` are those after the program's name. None at all is the same as --help.
Command parse_command_line(const std::vector<std::string>& arguments);

}  // namespace lockstep
