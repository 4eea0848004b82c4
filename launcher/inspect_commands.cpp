// The commands that only read or write files: data info, data import, report, --help.
#include <cstdio>

#include "datasets/describe.h"
#include "datasets/import/csv.h"
#include "launcher/commands.h"
#include "launcher/report.h"

namespace lockstep {
namespace {

CsvImportOptions import_options(const DataImportCommand& command) {
  CsvImportOptions options;
  options.file = command.file;
  options.output = command.output;
  options.name = command.name;
  options.shards = command.shards;
  options.delimiter = command.delimiter;
  switch (command.header) {
    case CsvHeader::kAuto: options.header = CsvImportOptions::Header::kAuto; break;
    case CsvHeader::kYes: options.header = CsvImportOptions::Header::kYes; break;
    case CsvHeader::kNo: options.header = CsvImportOptions::Header::kNo; break;
  }
  options.skip_lines = command.skip_lines;
  options.label = command.label;
  options.label_kind = command.regression ? CsvImportOptions::Label::kNumber : CsvImportOptions::Label::kClass;
  options.class_names = command.classes;
  options.missing = command.missing == MissingValues::kMean ? CsvImportOptions::Missing::kMean
                                                            : CsvImportOptions::Missing::kRefuse;
  options.dtype = command.dtype;
  if (!command.sample_shape.empty()) {
    options.sample_shape = Shape(std::span<const std::int64_t>(command.sample_shape));
  }
  options.gzip = static_cast<int>(command.gzip);
  options.overwrite = command.overwrite;
  options.source = command.source;
  return options;
}

}  // namespace

int run_command(const ShowText& command, const ProgramContext&) {
  std::printf("%s", command.text.c_str());
  return kExitDone;
}

int run_command(const DataInspectCommand& command, const ProgramContext&) {
  std::printf("%s", describe_dataset({command.dataset}).c_str());
  return kExitDone;
}

int run_command(const DataImportCommand& command, const ProgramContext&) {
  const CsvImportResult result = import_csv(import_options(command));
  std::printf("%lld samples of %lld features", static_cast<long long>(result.samples),
              static_cast<long long>(result.features));
  if (!result.class_names.empty()) std::printf(", %zu classes", result.class_names.size());
  if (result.filled > 0) {
    std::printf(", %lld missing values filled", static_cast<long long>(result.filled));
  }
  std::printf("\n");
  for (const std::string& file : result.files) std::printf("%s\n", file.c_str());
  return kExitDone;
}

int run_command(const ReportCommand& command, const ProgramContext&) {
  std::printf("%s\n", write_report(command.run, command.output).c_str());
  return kExitDone;
}

}  // namespace lockstep
