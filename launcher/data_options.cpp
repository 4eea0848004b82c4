#include "launcher/data_options.h"

#include <charconv>
#include <filesystem>

#include "core/base/error.h"
#include "datasets/import/format.h"
#include "launcher/command_line.h"

namespace lockstep {
namespace {

constexpr const char* kDataHelp =
    R"(usage: lockstep data info NAME|PATH                          what a dataset holds
       lockstep data verify NAME|PATH [options]              whether every sample can be read
       lockstep data import FILE... --output DIR [options]   make one from files
       lockstep data synthesize KIND --output DIR [options]  make one from a formula

  lockstep data COMMAND --help                               options of a command
)";

Command parse_verify(const Arguments& given) {
  CommandLine line("data verify", "data verify NAME|PATH [options]",
                   "Reads every sample of a dataset and tells what is wrong, one line each: missing or damaged "
                   "files,\nlengths and types that differ, checksums, NaN and infinities, labels out of range.");
  line.add()("target", value("ARRAY"), "the array of labels, which are checked");
  line.add()("classes", value("N"), "labels are below N; without it as many as the array has names for");
  line.arguments({"NAME|PATH"});
  if (auto help = line.parse(given)) return *help;
  DataVerifyCommand command;
  command.dataset = line.argument(0);
  command.target = line.word("target");
  command.classes = line.number("classes", 1, 0);
  if (command.classes > 0 && command.target.empty()) line.refuse("--classes needs --target ARRAY");
  return command;
}

Command parse_info(const Arguments& given) {
  CommandLine line("data info", "data info NAME|PATH",
                   "Prints what a dataset holds: samples, shards, arrays with types and shapes, "
                   "classes.");
  line.arguments({"NAME|PATH"});
  if (auto help = line.parse(given)) return *help;
  return DataInspectCommand{line.argument(0)};
}

// The options of datasets/import/shard_writer.h.
void add_shards(CommandLine& line) {
  line.add()("output", value("DIR"), "folder for the shards");
  line.add()("name", value("NAME"), "of the dataset; without it that of the file or the kind");
  line.add()("shards", value("N"), "number of files (default 1)");
  line.add()("split", value("FRACTION"),
             "make two sets, NAME-train and NAME-test; this part of the samples is for the test");
  line.add()("stratify", "split every class alike");
  line.add()("shuffle", "put the samples in a random order");
  line.add()("seed", value("N"), "of all that is random (default 0)");
  line.add()("compress", value("0-9"), "gzip the arrays: 1 is fast, 9 small (default 0: not)");
  line.add()("overwrite", "replace a dataset of this name");
  line.add()("source", value("TEXT"), "where the data is from, kept in the shards");
}

double fraction_of(const CommandLine& line) {
  if (!line.flag("split")) return 0;
  const std::string word = line.word("split");
  double value = 0;
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
  const bool is_number = error == std::errc() && end == word.data() + word.size();
  if (!is_number || !(value > 0 && value < 1)) {
    line.refuse("--split expects a number between 0 and 1, found '" + word + "'");
  }
  return value;
}

ShardOptions shards_of(const CommandLine& line, const std::string& name,
                       const std::string& source) {
  ShardOptions out;
  out.output = line.required("output");
  if (out.output.empty()) line.refuse("--output expects a folder, found ''");
  out.name = line.word("name", name);
  out.source = line.word("source", source);
  out.shards = line.number("shards", 1, 1);
  if (out.shards > 99999) line.refuse("--shards: expected a number from 1 to 99999");
  out.compress = static_cast<int>(std::min<std::int64_t>(line.number("compress", 0, 0), 10));
  if (out.compress > 9) line.refuse("--compress: expected a number from 0 to 9");
  out.overwrite = line.flag("overwrite");
  out.test_fraction = fraction_of(line);
  out.stratify = line.flag("stratify");
  if (out.stratify && out.test_fraction == 0) line.refuse("--stratify needs --split FRACTION");
  out.shuffle = line.flag("shuffle");
  out.seed = static_cast<std::uint64_t>(line.number("seed", 0, 0));
  return out;
}

// The file's name: without folders, and without its endings where `bare`.
std::string name_of_file(std::string path, bool bare) {
  while (path.size() > 1 && path.ends_with('/')) path.pop_back();
  const std::filesystem::path name = std::filesystem::path(path).filename();
  if (!bare) return name.string();
  return (name.extension() == ".gz" ? name.stem() : name).stem().string();
}

Command parse_import(const Arguments& given) {
  CommandLine line("data import", "data import FILE... --output DIR [options]",
                   "Makes a dataset of HDF5 shards from files of another format.");
  add_shards(line);
  std::string names;
  for (const ImportFormat& format : import_formats()) {
    names += "|" + format.name;
    if (!format.options.empty()) line.add_group(format.name + ": " + format.about, format.options);
  }
  names = "auto" + names;
  line.add()("format", value("NAME"),
             ("of the files: " + names + " (default auto: found from name and content)").c_str());
  line.arguments({"FILE"}, true);
  if (auto help = line.parse(given)) return *help;

  DataImportCommand command;
  command.paths = line.all_arguments();
  command.format = line.word("format", "auto");
  command.shards =
      shards_of(line, name_of_file(command.paths[0], true), name_of_file(command.paths[0], false));
  command.options = line.of_groups();
  return command;
}

Command parse_synthesize(const Arguments& given) {
  std::string about = "Makes a dataset from a formula and random numbers. KIND is one of\n";
  CommandLine line("data synthesize", "data synthesize KIND --output DIR [options]", [&] {
    for (const SyntheticKind& kind : synthetic_kinds()) {
      about += "\n  " + kind.name + std::string(16 - kind.name.size(), ' ') + kind.about;
    }
    return about;
  }());
  line.add()("samples", value("N"), "how many samples, or rows of a series (default 1000)");
  add_shards(line);
  for (const SyntheticKind& kind : synthetic_kinds()) line.add_group(kind.name, kind.options);
  line.arguments({"KIND"});
  if (auto help = line.parse(given)) return *help;

  DataSynthesizeCommand command;
  command.kind = line.argument(0);
  command.request.samples = line.number("samples", 1, command.request.samples);
  command.shards = shards_of(line, command.kind, "synthetic: " + command.kind);
  command.request.seed = command.shards.seed;
  command.request.options = line.of_groups();
  return command;
}

}  // namespace

Command parse_data(const Arguments& given) {
  if (given.empty()) {
    bad_input("data: expected 'info', 'verify', 'import' or 'synthesize' ('lockstep --help' lists all)");
  }
  if (given[0] == "--help" || given[0] == "-h") return ShowText{kDataHelp};
  return parse_named(
      "data: ", {{"info", parse_info}, {"verify", parse_verify}, {"import", parse_import}, {"synthesize", parse_synthesize}},
      given[0], {given.begin() + 1, given.end()});
}

}  // namespace lockstep
